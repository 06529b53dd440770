// The page Live: events as they come. What an event says is text, and never markup.

const bar = document.querySelector("[data-live]");
const list = document.querySelector("[data-live-list]");

// Milliseconds: until what came is shown, and until a connection is made again, one that broke off and one that was
// refused.
const SHOW_AFTER = 50;
const LOST_AFTER = 2000;
const REFUSED_AFTER = 10_000;

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
  // What is to be shown, the oldest first: no more than is kept. A gap has no event, but what came last before it.
  let waiting = [];
  let meanwhile = 0;
  let shown = 0;
  let isPaused = false;
  let connection = "Connecting…";
  // When the last event came to the service, epoch milliseconds, by its clock.
  let received = Number(bar.dataset.liveReceived);

  const tell = () => {
    if (isPaused) state.textContent = `Paused: ${meanwhile} came meanwhile${connection && `. ${connection}`}`;
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

  const gapSince = (time) => {
    const row = gap.cloneNode(true);
    const link = row.querySelector("a");
    link.href = within(link.href, { received_from: time });
    return row;
  };

  // Many that come at once are shown at once, and of those no more than stay.
  let showing = 0;
  const show = () => {
    showing = 0;
    if (isPaused) return;
    for (const { event, since } of waiting) {
      if (!event) list.prepend(gapSince(since));
      else if (!known.has(event.uid)) {
        known.add(event.uid);
        list.prepend(rowOf(event));
      }
    }
    waiting = [];
    while (list.children.length > kept) {
      known.delete(list.lastElementChild.dataset.uid);
      list.lastElementChild.remove();
    }
    empty.hidden = list.children.length > 0;
    tell();
  };

  const take = (one) => {
    waiting.push(one);
    if (waiting.length > kept) waiting.shift();
    if (isPaused) tell();
    else showing ||= setTimeout(show, SHOW_AFTER);
  };

  // Where it goes on: that comes also with no event, which an EventSource would keep for itself.
  let place = null;
  let lostAfter = LOST_AFTER;

  const hear = (message) => {
    place = message.id ?? place;
    lostAfter = Number(message.retry ?? lostAfter);
    if (message.event === "behind") take({ since: received });
    else if (message.data) {
      const event = JSON.parse(message.data);
      received = event.source.receivedAt;
      if (known.has(event.uid)) return;
      if (isPaused) meanwhile += 1;
      shown += 1;
      take({ event });
    }
  };

  const say = (text) => { connection = text; tell(); };

  // Milliseconds until it is tried again.
  const listen = async (signal) => {
    try {
      const headers = { Accept: "text/event-stream" };
      const answer = await fetch(within(bar.dataset.live, place ? { cursor: place } : {}), { signal, headers });
      if (!answer.ok) {
        say(`Not connected, which is tried again: ${await refusal(answer, signal)}`);
        return REFUSED_AFTER;
      }
      say("");
      for await (const message of messages(answer.body)) hear(message);
    } catch (error) {
      if (signal.aborted) return 0;
      console.info(error);
    }
    say("The connection is lost, and made again: nothing will be missing");
    return lostAfter;
  };

  // One connection at most, and none while nobody sees the page: a browser has six to one host over HTTP/1.1, so tabs in
  // the background would block all others.
  let following = null;

  const stop = () => {
    following?.abort();
    following = null;
  };

  const follow = async () => {
    stop();
    if (document.hidden) return;
    const mine = following = new AbortController();
    say("Connecting…");
    while (following === mine) {
      const wait = await listen(mine.signal);
      await new Promise((done) => setTimeout(done, wait));
    }
  };

  pause.addEventListener("click", () => {
    isPaused = !isPaused;
    pause.setAttribute("aria-pressed", String(isPaused));
    pause.textContent = isPaused ? "Resume" : "Pause";
    if (isPaused) tell();
    else {
      meanwhile = 0;
      show();
    }
  });

  bar.hidden = false;
  follow();
  document.addEventListener("visibilitychange", follow);
  addEventListener("pagehide", stop);
  addEventListener("pageshow", (event) => { if (event.persisted) follow(); });
}

function within(address, params) {
  const found = new URL(address, location.href);
  for (const [name, value] of Object.entries(params)) found.searchParams.set(name, value);
  return found.href;
}

// The messages of a stream of server-sent events, by their fields; what has an id alone is one, too.
async function* messages(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (text + value).split("\n\n");
    text = parts.pop();
    for (const part of parts) {
      // Events' texts may hold what `.` takes for the end of a line.
      const fields = part.split("\n").map((line) => line.match(/^(\w+): ?([^]*)$/)).filter(Boolean);
      yield Object.fromEntries(fields.map(([, name, said]) => [name, said]));
    }
  }
}

// Why the service refused. Whose session has ended is led to sign in, and back.
async function refusal(answer, signal) {
  if (answer.status === 401) {
    const headers = { "HX-Request": "true", "HX-Current-URL": location.href };
    const page = await fetch(location.href, { signal, headers });
    const address = page.headers.get("HX-Redirect");
    if (address) location.assign(address);
  }
  const problem = await answer.json().catch(() => ({}));
  return problem.detail ?? `the service answered ${answer.status}`;
}
