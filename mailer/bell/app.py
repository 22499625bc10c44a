"""The Celery application that carries the bell over any broker.

Celery is configured for what a bell is: transient, acknowledged when read, and never worth waiting
for. Nothing of Celery's own keeps state: no results, events, remote control or ETA.
"""

from __future__ import annotations

from typing import Any

from celery import Celery
from kombu.entity import Exchange, Queue

from mailer.bell import transport

RING = "mailer.ring"  # the task's name
# Durable, since RabbitMQ gives up transient shared queues; the messages in it are transient.
QUEUE: Any = Queue("mailer.bell", Exchange(""), routing_key="mailer.bell", durable=True)  # type: ignore[no-untyped-call]

_CONNECT_SECONDS = 1.0
_SILENCE_SECONDS = 3  # a broker that takes our bytes and answers none of them for this long is gone
_BROKER_HEARTBEAT_SECONDS = 10


def make_app(broker_url: str) -> Celery:
    """Makes an application for `bell://` (see transport.url), `amqp(s)://` or `redis(s)://`.

    It dials nothing until it is used. Make one per process, after any fork.
    """
    transport.register()
    app = Celery("mailer", broker=_with_host(broker_url), set_as_current=False, autofinalize=True)
    app.conf.update(
        broker_connection_timeout=_CONNECT_SECONDS,
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        # Celery's own default gives up, and ends the worker, after 100 attempts.
        broker_connection_max_retries=None,
        broker_heartbeat=_BROKER_HEARTBEAT_SECONDS,
        broker_transport_options=_transport_options(broker_url),
        result_backend=None,
        accept_content=["json"],
        task_serializer="json",
        task_queues=(QUEUE,),
        task_default_queue=QUEUE.name,
        task_default_exchange="",
        task_create_missing_queues=False,
        task_default_delivery_mode="transient",
        task_ignore_result=True,
        task_acks_late=False,
        task_publish_retry=False,
        task_send_sent_event=False,
        worker_pool="solo",
        worker_concurrency=1,
        # With 1, one bell in some hundred is stuck for seconds on AMQP: kombu's loop can put off an
        # acknowledgement to after its next wait, and RabbitMQ then sends nothing that would end the wait
        # (kombu 5.7, hub.create_loop: callbacks added by callbacks run after the poll).
        worker_prefetch_multiplier=2,
        worker_enable_prefetch_count_reduction=False,
        worker_disable_rate_limits=True,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        # Concerns late acknowledgement only; unset, it warns at every lost connection.
        worker_cancel_long_running_tasks_on_connection_loss=True,
        # Asking RabbitMQ's management port for queue types would be one more service to reach.
        worker_detect_quorum_queues=False,
    )
    return app


def _with_host(broker_url: str) -> str:
    """kombu warns of a URL without a host, though a folder has none."""
    return broker_url.replace("bell:///", "bell://localhost/", 1)


def _transport_options(broker_url: str) -> dict[str, Any]:
    """What keeps a broker that went silent from holding a thread for ever, in each driver's words."""
    scheme = broker_url.partition("://")[0]
    if scheme in {"amqp", "amqps", "pyamqp"}:
        return {"read_timeout": _SILENCE_SECONDS, "write_timeout": _SILENCE_SECONDS}
    if scheme in {"redis", "rediss"}:
        return {
            # Longer than the second for which a worker lets Redis hold its BRPOP.
            "socket_timeout": _SILENCE_SECONDS,
            "socket_connect_timeout": _CONNECT_SECONDS,
            "socket_keepalive": True,
        }
    return {}
