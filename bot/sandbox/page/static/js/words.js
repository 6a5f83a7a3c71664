// The page's own words, in both languages: each feature teaches its own, from words/. What the bot, the members and
// the mails say is never translated.

const CATALOGUE = { en: {}, zh: {} };
const REFUSALS_ZH = {}; // what the sandbox says in English when it refuses
const STORED = "sandbox.language";

/** Learn the words of a feature; the same word from two of them is a mistake. */
export function teach({ en, zh, refusals = {} }) {
  for (const [known, fresh] of [[CATALOGUE.en, en], [CATALOGUE.zh, zh]]) {
    for (const [key, sentence] of Object.entries(fresh)) {
      if (key in known) throw new Error(`two sentences are called ${key}`);
      known[key] = sentence;
    }
  }
  Object.assign(REFUSALS_ZH, refusals);
}

export function refusal(why) {
  return (language === "zh" && REFUSALS_ZH[why]) || why;
}

function stored() {
  try {
    return localStorage.getItem(STORED);
  } catch {
    return null;
  }
}

export let language = stored() ?? (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");
if (!(language in CATALOGUE)) language = "en";

export function speak(wanted) {
  language = wanted in CATALOGUE ? wanted : "en";
  try {
    localStorage.setItem(STORED, language);
  } catch {
    // then only until the page is closed
  }
}

/** A sentence of the page with its values. */
export function say(key, values = {}) {
  const sentence = CATALOGUE[language][key] ?? CATALOGUE.en[key] ?? key;
  return sentence.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

export function known(key) {
  return key in CATALOGUE.en;
}

/** Put the page's fixed words into their places. */
export function label(root) {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const each of root.querySelectorAll("[data-words]")) each.textContent = say(each.dataset.words);
  for (const each of root.querySelectorAll("[data-label]")) each.setAttribute("aria-label", say(each.dataset.label));
}
