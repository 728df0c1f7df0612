// The page's language: the one switched to (a cookie, so that the server says the same), else the
// first that the browser asks for. Catalogues come with the document.
const CATALOGUES = JSON.parse(document.getElementById("redraft-words").textContent);
const CODES = Object.keys(CATALOGUES);

function currentLanguage() {
  const chosen = document.cookie.match(/(?:^|; )redraft_language=([a-z]+)/);
  const asked = [chosen ? chosen[1] : "", ...navigator.languages];
  return asked.map((code) => code.split("-")[0].toLowerCase()).find((c) => CODES.includes(c)) || CODES[0];
}

const t = (key) => CATALOGUES[currentLanguage()][key];

// Elements of the document's own parts: data-t names what is their text, and after a colon an attribute.
function translate(root) {
  if (document.documentElement.lang !== currentLanguage()) document.documentElement.lang = currentLanguage();
  for (const node of root.querySelectorAll("[data-t]"))
    for (const part of node.dataset.t.split(" ")) {
      const [attribute, key] = part.split(":");
      if (key) node.setAttribute(attribute, t(key));
      else node.textContent = t(part);
    }
}

function speak(language) {
  document.cookie = `redraft_language=${language}; path=/; max-age=31536000; samesite=lax`;
  document.dispatchEvent(new Event("redraft-language"));
}

// The button that switches: it names the next language, in that language.
const nextLanguage = () => CODES[(CODES.indexOf(currentLanguage()) + 1) % CODES.length];
function nameNextLanguage(button) {
  const next = CATALOGUES[nextLanguage()];
  button.textContent = next.language_short;
  button.setAttribute("aria-label", next.language);
  button.title = next.language;
  button.lang = nextLanguage();
}
