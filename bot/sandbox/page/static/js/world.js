// What the page knows, and the control API it learns it from.

const GAP_MS = 250; // between two looks while much goes on
const POLL_MS = 2000;

export const world = {
  state: null,
  chats: new Map(), // userid to what GET chat says
  link: "connecting",
  offset: 0, // sandbox clock minus this machine's, in milliseconds
  draw: () => undefined, // draw what is known; set by the page
  refresh: () => undefined, // look now, and draw
};

export class Refused extends Error {}

async function answered(response) {
  if (response.ok) return response.json();
  let detail = "";
  try {
    const body = await response.json();
    detail = body.detail ?? body.error ?? "";
    if (Array.isArray(detail)) detail = detail.map((each) => each.msg).join("; ");
  } catch {
    // not JSON
  }
  throw new Refused(String(detail || `${response.status} ${response.statusText}`));
}

export async function look(path, query = {}) {
  const asked = new URLSearchParams(query).toString();
  return answered(await fetch(`/_sandbox/${path}${asked ? `?${asked}` : ""}`, { cache: "no-store" }));
}

export async function order(path, body = {}) {
  return answered(
    await fetch(`/_sandbox/${path}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    }),
  );
}

/**
 * Keeps `world` fresh: `refresh()` looks now, `seen` is called after each look. One look at a time; what changes
 * meanwhile is looked at afterwards, however often it changed.
 */
export function keepFresh({ members, also, seen }) {
  let running = false;
  let again = false;
  let wanted = [];

  async function once() {
    const [state, ...chats] = await Promise.all([
      look("state"),
      ...members().map((member) => look("chat", { member }).catch(() => null)),
      also(),
    ]);
    world.state = state;
    world.offset = Date.parse(state.clock) - Date.now();
    for (const chat of chats) if (chat?.entries) world.chats.set(chat.member, chat);
  }

  async function refresh() {
    if (running) {
      again = true;
      return new Promise((resolve) => wanted.push(resolve));
    }
    running = true;
    let failed = false;
    do {
      again = false;
      const waiting = wanted;
      wanted = [];
      try {
        await once();
        failed = false;
      } catch {
        failed = true;
      }
      if (failed) world.link = "lost";
      else world.link = streamOpen() ? "live" : "polling";
      seen();
      for (const resolve of waiting) resolve();
      if (again) await new Promise((resolve) => setTimeout(resolve, GAP_MS));
    } while (again);
    running = false;
    return undefined;
  }

  let source = null;
  const streamOpen = () => source?.readyState === EventSource.OPEN;

  function listen() {
    source?.close();
    source = new EventSource("/_sandbox/events");
    source.onopen = () => {
      world.link = "live";
      seen();
    };
    source.onmessage = () => refresh();
    source.onerror = () => {
      if (world.link === "live") world.link = "polling";
      seen();
    };
  }

  let beats = 0;
  setInterval(() => {
    if (document.hidden) return;
    beats += 1;
    if (source?.readyState === EventSource.CLOSED && beats % 3 === 0) listen();
    if (!streamOpen() || beats % 15 === 0) refresh(); // a stream that died in silence is found out after a while
  }, POLL_MS);

  // A browser allows six connections to a host: hidden tabs give theirs back.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      source?.close();
    } else {
      listen();
      refresh();
    }
  });

  listen();
  refresh();
  return refresh;
}

/** The sandbox clock now. */
export function now() {
  return Date.now() + world.offset;
}

/** Where a link of a chat leads when a member opens it; null unless it is http(s) to the bot or the sandbox. */
export function openedBy(member, url) {
  if (!url) return null;
  let target;
  try {
    target = new URL(url, location.origin);
  } catch {
    return null;
  }
  const own = [location.origin, world.state?.bot_url, world.state?.wecom?.api_base]
    .filter(Boolean)
    .map((each) => new URL(each).origin);
  if (!["http:", "https:"].includes(target.protocol) || !own.includes(target.origin)) return null;
  return `/_sandbox/open?${new URLSearchParams({ member, url: target.href })}`;
}

export function person(userid) {
  return world.state?.members.find((each) => each.userid.toLowerCase() === String(userid).toLowerCase()) ?? null;
}
