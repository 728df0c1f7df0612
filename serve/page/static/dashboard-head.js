// The dashboard's head: asks for everything, and again for what changes while runs are at work.
const SLOW = 15000; // milliseconds between two looks
const QUICK = 2000;
let looking = null;

function look(busy) {
  clearTimeout(looking);
  looking = setTimeout(() => {
    if (document.hidden) return look(busy);
    trigger("poll", {});
    look(busy); // should no answer come
  }, busy ? QUICK : SLOW);
}

function showLanguage() {
  nameNextLanguage(element.querySelector(".language"));
  document.title = `${t("dash_title")} · Redraft`;
}

onAction(element, {
  language: () => speak(nextLanguage()),
  theme: toggleTheme,
  period(button) {
    for (const other of button.parentElement.children) other.setAttribute("aria-pressed", String(other === button));
    trigger("period", { days: Number(button.dataset.days) });
  },
});
document.addEventListener("redraft-language", () => {
  showLanguage();
  trigger("language", {});
});
showLanguage();
showBody((value) => look(value.busy));
trigger("hello", { utc_offset: -new Date().getTimezoneOffset() });
