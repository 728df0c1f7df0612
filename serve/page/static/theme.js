// Light or dark: as the system says, and against it where the switch was used.
const systemDark = matchMedia("(prefers-color-scheme: dark)");

function showTheme() {
  const chosen = localStorage.getItem("redraft-theme");
  document.body.classList.toggle("dark", chosen ? chosen === "dark" : systemDark.matches);
}

function toggleTheme() {
  const dark = !document.body.classList.contains("dark");
  // What the system says is not kept: the page goes on following it.
  if (dark === systemDark.matches) localStorage.removeItem("redraft-theme");
  else localStorage.setItem("redraft-theme", dark ? "dark" : "light");
  showTheme();
}

systemDark.addEventListener("change", showTheme);
showTheme();
