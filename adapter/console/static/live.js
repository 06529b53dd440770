// The page Live: events as they come, by EventSource. What an event says is text, and never markup.

const bar = document.querySelector("[data-live]");
const list = document.querySelector("[data-live-list]");

// As on the service: nothing moves a cursor or turns the direction of writing.
const unsafe = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]/g;
const harmless = (text) =>
  String(text).replace(/[\ud800-\udbff][\udc00-\udfff]|[^]/g, (one) =>
    one.length > 1 ? one : one.replace(unsafe, (bad) => `\\u${bad.charCodeAt(0).toString(16).padStart(4, "0")}`));

const written = (zone) => {
  const digits = { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit" };
  const format = new Intl.DateTimeFormat("en-GB", { timeZone: zone, hourCycle: "h23", timeZoneName: "short", ...digits });
  return (time) => {
    const part = Object.fromEntries(format.formatToParts(time).map(({ type, value }) => [type, value]));
    return [`${part.year}-${part.month}-${part.day} ${part.hour}:${part.minute}:${part.second}`, part.timeZoneName];
  };
};

if (bar && list) {
  const kept = Number(bar.dataset.liveKept);
  const pause = bar.querySelector("[data-live-pause]");
  const state = bar.querySelector("[data-live-state]");
  const empty = document.querySelector("[data-live-empty]");
  const template = document.querySelector("[data-live-row]").content.firstElementChild;
  const gap = document.querySelector("[data-live-gap]").content.firstElementChild;
  const when = written(bar.dataset.liveZone);
  const known = new Set([...list.querySelectorAll("[data-uid]")].map((row) => row.dataset.uid));
  // What came while the page is paused, the oldest first: no more than is kept.
  let waiting = [];
  let meanwhile = 0;
  let shown = 0;
  let isPaused = false;
  let connection = "Connecting…";

  const tell = () => {
    if (isPaused) state.textContent = `Paused: ${meanwhile} came meanwhile`;
    else state.textContent = connection || `Live: ${shown} came since this page was opened`;
  };

  const timed = (time) => {
    const element = document.createElement("time");
    try {
      const [text, zone] = when(time);
      element.dateTime = new Date(time).toISOString();
      element.textContent = `${text} `;
      const named = document.createElement("span");
      named.className = "zone";
      named.textContent = zone;
      element.append(named);
    } catch {
      element.textContent = "–";
    }
    return element;
  };

  const rowOf = (event) => {
    const row = template.cloneNode(true);
    row.dataset.uid = event.uid;
    row.classList.add("live-new");
    row.prepend(timed(event.time));
    const outcome = row.querySelector(".state");
    outcome.className = `state ${{ success: "good", failure: "bad" }[event.outcome] ?? "plain"}`;
    outcome.textContent = harmless(event.outcome);
    const link = row.querySelector(".live-sentence");
    link.href = bar.dataset.liveEvents + encodeURIComponent(event.uid);
    link.textContent = harmless(event.sentence?.text ?? event.type);
    row.querySelector(".live-about").textContent = harmless(event.source.provider);
    return row;
  };

  const show = (rows) => {
    for (const row of rows) {
      if (row.dataset.uid) {
        if (known.has(row.dataset.uid)) continue;
        known.add(row.dataset.uid);
      }
      list.prepend(row);
    }
    while (list.children.length > kept) {
      known.delete(list.lastElementChild.dataset.uid);
      list.lastElementChild.remove();
    }
    empty.hidden = list.children.length > 0;
  };

  const take = (row) => {
    if (isPaused) {
      waiting.push(row);
      if (waiting.length > kept) waiting.shift();
    } else {
      show([row]);
    }
    tell();
  };

  let place = null;
  let source;
  const connect = () => {
    const address = new URL(bar.dataset.live, location.href);
    if (place) address.searchParams.set("cursor", place);
    source = new EventSource(address);
    source.onopen = () => { connection = ""; tell(); };
    source.onmessage = (message) => {
      place = message.lastEventId || place;
      const event = JSON.parse(message.data);
      if (known.has(event.uid)) return;
      if (isPaused) meanwhile += 1;
      shown += 1;
      take(rowOf(event));
    };
    source.addEventListener("behind", () => take(gap.cloneNode(true)));
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) {
        // Refused: it may be that too many listen, or that the session has ended.
        connection = "Not connected: the service refused, which is tried again; if it stays so, load the page again";
        setTimeout(connect, 10_000);
      } else {
        connection = "The connection is lost, and made again: nothing will be missing";
      }
      tell();
    };
  };

  pause.addEventListener("click", () => {
    isPaused = !isPaused;
    pause.setAttribute("aria-pressed", String(isPaused));
    pause.textContent = isPaused ? "Resume" : "Pause";
    if (!isPaused) {
      show(waiting);
      waiting = [];
      meanwhile = 0;
    }
    tell();
  });

  bar.hidden = false;
  connect();
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (event) => { if (event.persisted) connect(); });
}
