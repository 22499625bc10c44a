// Keeps the list live and searchable. Text of strangers is only ever set as text.
"use strict";

const list = document.getElementById("messages");
const row = document.getElementById("row");
const empty = document.getElementById("empty");
const count = document.getElementById("count");
const live = document.getElementById("live");
const search = document.getElementById("search");
const POLL_MS = 1000;
const SLOWEST_POLL_MS = 15000;
let tag = list.dataset.tag;
let wait = POLL_MS;

function localTime(element) {
  const at = new Date(element.dateTime);
  const isToday = at.toDateString() === new Date().toDateString();
  const time = { hour: "2-digit", minute: "2-digit", second: "2-digit" };
  const day = { year: "numeric", month: "short", day: "numeric" };
  const isLong = "long" in element.dataset;
  const shown = isLong ? { ...day, ...time } : isToday ? time : { month: "short", day: "numeric" };
  element.textContent = at.toLocaleString(undefined, shown);
  element.title = at.toISOString();
}

function makeRow(message) {
  const item = row.content.firstElementChild.cloneNode(true);
  item.querySelector("a").href = "/inbox/view/" + encodeURIComponent(message.key);
  item.querySelector(".who").textContent = message.from || message.return_path;
  item.querySelector(".subject").textContent = message.subject || "(no subject)";
  item.querySelector(".to").textContent = "to " + message.delivered_to;
  const time = item.querySelector("time");
  time.dateTime = message.received_at;
  localTime(time);
  if (message.key === list.dataset.open) item.setAttribute("aria-current", "true");
  return item;
}

function filter() {
  const wanted = search.value.trim().toLowerCase();
  for (const item of list.children) {
    item.hidden = wanted !== "" && !item.textContent.toLowerCase().includes(wanted);
  }
}

function show(listing) {
  const focused = document.activeElement?.closest("#messages a")?.getAttribute("href");
  list.replaceChildren(...listing.messages.map(makeRow));
  empty.hidden = listing.messages.length > 0;
  count.textContent = listing.total;
  filter();
  if (focused) list.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

async function poll() {
  try {
    const answer = await fetch("/inbox/messages?limit=" + list.dataset.limit, {
      cache: "no-store",
      headers: { "If-None-Match": `"${tag}"` },
    });
    if (answer.status === 200) {
      tag = answer.headers.get("ETag").slice(1, -1);
      show(await answer.json());
    } else if (answer.status !== 304) {
      throw new Error("unexpected answer " + answer.status);
    }
    wait = POLL_MS;
    setLive("live", "Live");
  } catch {
    // The server is restarting or gone: ask less and less often, and say so.
    wait = Math.min(wait * 2, SLOWEST_POLL_MS);
    setLive("lost", "Not connected, trying again");
  }
  setTimeout(next, wait);
}

function setLive(state, text) {
  if (live.textContent !== text) live.textContent = text;
  live.className = state;
}

function next() {
  if (document.hidden) document.addEventListener("visibilitychange", poll, { once: true });
  else poll();
}

document.querySelectorAll("time").forEach(localTime);
search.addEventListener("input", filter);
document.querySelector("[aria-current=true]")?.scrollIntoView({ block: "nearest" });
poll();
