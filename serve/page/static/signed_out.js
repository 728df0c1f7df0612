// A gesture of somebody who is not signed in any more is refused at the door: to the sign-in form.
// Gradio's client looks `fetch` up at each call; what was typed is kept by unsent.js.
const plainFetch = window.fetch;
window.fetch = async (...asked) => {
  const answer = await plainFetch(...asked);
  if (answer.status === 401) location.reload();
  return answer;
};
