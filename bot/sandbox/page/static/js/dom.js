// Building elements without markup, and putting a fresh tree into the living one without a flicker.

/** An element: `h("a.link", {href}, "text", child)`. Texts become text nodes, so nothing is ever read as markup. */
export function h(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "class") element.className = `${element.className} ${value}`.trim();
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((each) => each !== null && each !== undefined && each !== false));
  return element;
}

// What people change themselves stays as they left it: open details, typed text, chosen options.
const THEIRS = { DETAILS: ["open"], INPUT: ["value"], OPTION: ["selected"], TEXTAREA: ["rows"] };
// A switch shows what the server says.
const FOLLOWS = "data-follows";

function same(one, other) {
  return one.nodeType === other.nodeType && one.nodeName === other.nodeName && keyOf(one) === keyOf(other);
}

function keyOf(node) {
  return node.nodeType === Node.ELEMENT_NODE ? node.getAttribute("data-key") : null;
}

/** Make `live` look like `fresh`; nodes that stay keep their focus, scroll position and typed text. */
export function morph(live, fresh) {
  if (live.nodeType !== Node.ELEMENT_NODE) {
    if (live.nodeValue !== fresh.nodeValue) live.nodeValue = fresh.nodeValue;
    return;
  }
  if (live.hasAttribute("data-asked")) return; // it waits for a second press
  const theirs = THEIRS[live.nodeName] ?? [];
  for (const { name } of [...live.attributes]) {
    if (!fresh.hasAttribute(name) && !theirs.includes(name) && name !== "aria-busy") live.removeAttribute(name);
  }
  for (const { name, value } of [...fresh.attributes]) {
    if (live.getAttribute(name) !== value && !theirs.includes(name)) live.setAttribute(name, value);
  }
  if (live.hasAttribute(FOLLOWS)) {
    if (live.type === "checkbox") live.checked = fresh.hasAttribute("checked");
    else if (live.nodeName === "SELECT") queueMicrotask(() => follow(live));
  }
  children(live, [...fresh.childNodes]);
}

function follow(select) {
  const wanted = select.getAttribute("data-value") ?? "";
  if (document.activeElement !== select || select.hasAttribute("data-sent")) select.value = wanted;
}

function children(live, wanted) {
  const keyed = new Map();
  for (const child of live.childNodes) if (keyOf(child) !== null) keyed.set(keyOf(child), child);
  let cursor = live.firstChild;
  for (const fresh of wanted) {
    const key = keyOf(fresh);
    let match = key === null ? cursor : keyed.get(key);
    if (key === null && match && keyOf(match) !== null) match = null;
    if (match && same(match, fresh)) {
      if (match === cursor) cursor = cursor.nextSibling;
      else live.insertBefore(match, cursor);
      morph(match, fresh);
    } else {
      live.insertBefore(fresh, cursor);
      if (key === null && cursor && keyOf(cursor) === null) {
        const gone = cursor;
        cursor = cursor.nextSibling;
        gone.remove();
      }
    }
  }
  while (cursor) {
    const gone = cursor;
    cursor = cursor.nextSibling;
    gone.remove();
  }
  if (live.nodeName === "SELECT" && live.hasAttribute(FOLLOWS)) follow(live);
}

/** Put `fresh` nodes into `live` in place of what it holds. */
export function fill(live, ...fresh) {
  children(live, fresh.flat(Infinity).filter(Boolean));
}

/** Whether a scrolled element stands at its end, or nearly. */
export function atEnd(element, slack = 48) {
  return element.scrollHeight - element.scrollTop - element.clientHeight < slack;
}
