// Turn one element into what `html` says, touching only what differs: focus, selection and
// scroll places survive. Nodes marked data-keep are the browser's own (an open editor).
function morphHtml(target, html) {
  const source = document.createElement("template");
  source.innerHTML = html;
  morphChildren(target, source.content);
}

function morphChildren(target, source) {
  const old = [...target.childNodes].filter((n) => !(n.dataset && "keep" in n.dataset));
  const fresh = [...source.childNodes];
  fresh.forEach((node, i) => {
    if (!old[i]) target.append(node);
    else if (alike(old[i], node)) morphNode(old[i], node);
    else old[i].replaceWith(node);
  });
  old.slice(fresh.length).forEach((node) => node.remove());
}

function alike(a, b) {
  if (a.nodeType !== b.nodeType || a.nodeName !== b.nodeName) return false;
  return a.nodeType !== 1 || a.getAttribute("data-key") === b.getAttribute("data-key");
}

function morphNode(a, b) {
  if (a.nodeType !== 1) {
    if (a.data !== b.data) a.data = b.data;
    return;
  }
  for (const { name } of [...a.attributes])
    if (!b.hasAttribute(name) && name !== "data-open" && name !== "open") a.removeAttribute(name);
  for (const { name, value } of b.attributes)
    if (a.getAttribute(name) !== value) a.setAttribute(name, value);
  morphChildren(a, b);
}

// Values can arrive out of order (a stream's last word after a switch): older ones are dropped.
function onNewest(props, watch, show) {
  let revision = 0;
  const take = () => {
    const value = props.value;
    if (!value || !value.revision || value.revision <= revision) return;
    revision = value.revision;
    show(value);
  };
  watch("value", take);
  take();
}

// The name of one gesture: the API takes it once, however often it is sent.
function newGesture() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return "page-" + [...bytes].map((b) => b.toString(16).padStart(2, "0")).join("");
}

function onAction(element, actions) {
  element.addEventListener("click", (event) => {
    const button = event.target.closest("[data-act]");
    if (!button || !element.contains(button) || button.disabled) return;
    const action = actions[button.dataset.act];
    if (action) action(button, event);
  });
}
