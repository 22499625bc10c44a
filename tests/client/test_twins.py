"""The two clients cannot differ, and neither lacks an operation of the API."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from types import ModuleType

import httpx
import pytest

from mailer.client import (
    AsyncMailer,
    Mailer,
    parts,
    parts_async,
    parts_operating,
    parts_operating_async,
    parts_reports,
    parts_reports_async,
    parts_returning,
    parts_returning_async,
    parts_suppressing,
    parts_suppressing_async,
)
from tests.client.conftest import Api

# Operations of the document to methods of the client.
METHODS = {
    "send_message": "messages.send",
    "send_batch": "messages.send_all",
    "send_raw_message": "messages.send_raw",
    "validate_message": "messages.validate",
    "list_messages": "messages.page",
    "get_message": "messages.get",
    "explain_message": "messages.explain",
    "cancel_message": "messages.cancel",
    "retry_message": "messages.retry",
    "list_events": "events.page",
    "look_at_queue": "queue.overview",
    "count_waiting": "queue.count",
    "list_holds": "queue.holds",
    "get_hold": "queue.get_hold",
    "hold_mail": "queue.hold",
    "release_hold": "queue.release",
    "requeue_mail": "queue.requeue",
    "move_mail": "queue.move",
    "bounce_mail": "queue.bounce",
    "list_actions": "queue.actions",
    "list_templates": "templates.page",
    "get_template": "templates.get",
    "get_template_version": "templates.version",
    "create_template": "templates.create",
    "add_template_version": "templates.add_version",
    "publish_template": "templates.publish",
    "render_template": "templates.render",
    "delete_template": "templates.delete",
    "list_streams": "streams.list",
    "get_stream": "streams.get",
    "create_stream": "streams.create",
    "change_stream": "streams.change",
    "archive_stream": "streams.archive",
    "restore_stream": "streams.restore",
    "list_keys": "keys.page",
    "get_key": "keys.get",
    "create_key": "keys.create",
    "rename_key": "keys.rename",
    "revoke_key": "keys.revoke",
    "rotate_key": "keys.rotate",
    "list_endpoints": "webhook_endpoints.list",
    "get_endpoint": "webhook_endpoints.get",
    "create_endpoint": "webhook_endpoints.create",
    "change_endpoint": "webhook_endpoints.change",
    "delete_endpoint": "webhook_endpoints.delete",
    "get_secret": "webhook_endpoints.secret",
    "rotate_secret": "webhook_endpoints.rotate_secret",
    "test_endpoint": "webhook_endpoints.test",
    "list_attempts": "webhook_endpoints.attempts",
    "list_callbacks": "webhook_endpoints.callbacks",
    "retry_callback": "webhook_endpoints.retry",
    "list_egress_ips": "egress_ips.list",
    "get_egress_ip": "egress_ips.get",
    "add_egress_ip": "egress_ips.add",
    "change_egress_ip": "egress_ips.change",
    "remove_egress_ip": "egress_ips.remove",
    "list_pools": "pools.list",
    "get_pool": "pools.get",
    "create_pool": "pools.create",
    "change_pool": "pools.change",
    "remove_pool": "pools.remove",
    "put_pool_member": "pools.put_member",
    "remove_pool_member": "pools.remove_member",
    "list_pool_uses": "pools.uses",
    "put_pool_use": "pools.use",
    "list_warmups": "warmups.list",
    "get_warmup": "warmups.get",
    "get_warmup_history": "warmups.history",
    "start_warmup": "warmups.start",
    "hold_warmup": "warmups.hold",
    "resume_warmup": "warmups.resume",
    "stop_warmup": "warmups.stop",
    "list_brake": "brake.list",
    "override_brake": "brake.override",
    "clear_brake": "brake.clear",
    "list_limits": "limits.list",
    "set_limit": "limits.set",
    "remove_limit": "limits.remove",
    "list_returned": "returned.page",
    "get_returned": "returned.get",
    "get_raw_returned": "returned.raw",
    "list_provider_rules": "provider_rules.list",
    "list_suppressions": "suppressions.page",
    "get_suppression": "suppressions.get",
    "add_suppression": "suppressions.add",
    "remove_suppression": "suppressions.remove",
    "import_suppressions": "suppressions.import_csv",
    "export_suppressions": "suppressions.export_csv",
    "get_provider_rule": "provider_rules.get",
    "set_provider_rule": "provider_rules.set",
    "remove_provider_rule": "provider_rules.remove",
    "get_dmarc_summary": "reports.dmarc",
    "list_dmarc_reports": "reports.dmarc_reports",
    "get_dmarc_report": "reports.dmarc_report",
    "list_dmarc_failures": "reports.dmarc_failures",
    "get_tls_summary": "reports.tls",
    "list_tls_reports": "reports.tls_reports",
    "get_tls_report": "reports.tls_report",
    "get_complaint_summary": "reports.complaints",
    "list_complaints": "reports.complaint_reports",
}


def tree(module: ModuleType, *, waits: bool) -> str:
    """The code without its docstring; with `waits`, what it would be if it did not await."""
    text = Path(module.__file__ or "").read_text()
    if not waits:
        text = text.replace("AsyncIterator", "Iterator").replace("AsyncWires", "Wires")
        text = text.replace("client.parts_async", "client.parts")
        text = re.sub(r"\basync def\b", "def", re.sub(r"\bawait ", "", text))
        text = re.sub(
            r"            for (\w+) in (.+):\n                yield \1\n",
            r"            yield from \2\n",
            text,
        )
    body = ast.parse(text).body[1:]
    return "\n".join(ast.dump(node) for node in body)


@pytest.mark.parametrize(
    ("awaited", "plain"),
    [
        (parts_async, parts),
        (parts_operating_async, parts_operating),
        (parts_returning_async, parts_returning),
        (parts_reports_async, parts_reports),
        (parts_suppressing_async, parts_suppressing),
    ],
)
def test_the_two_clients_say_the_same(awaited: ModuleType, plain: ModuleType) -> None:
    assert tree(awaited, waits=False) == tree(plain, waits=True)


def test_every_operation_has_its_method(api: Api) -> None:
    document = httpx.get(f"{api.url}/openapi.json").json()
    operations = {
        operation["operationId"]
        for path, methods in document["paths"].items()
        for operation in methods.values()
        if path.startswith("/v1/")
    }

    assert operations == METHODS.keys()


def test_every_method_is_there(mailer: Mailer, async_mailer: AsyncMailer) -> None:
    def missing(client: object) -> list[str]:
        found = [method.split(".") for method in METHODS.values()]
        return [f"{part}.{name}" for part, name in found if not hasattr(getattr(client, part), name)]

    assert missing(mailer) == missing(async_mailer) == []
