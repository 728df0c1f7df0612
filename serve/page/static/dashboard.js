// What the parts of the dashboard share: each shows what the server rendered for it.
const body = element.querySelector(".body");

function showBody(also) {
  translate(element);
  document.addEventListener("redraft-language", () => translate(element));
  onNewest(props, watch, (value) => {
    if (value.login) return void location.reload(); // the session has ended: to the sign-in form
    morphHtml(body, value.html);
    if (also) also(value);
  });
}
