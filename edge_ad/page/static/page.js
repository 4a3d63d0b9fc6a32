"use strict";
// What all views share. A form with data-post is sent as JSON, with the header that no other site
// can set; when it is done, the page is loaded again, or the address in data-then. What went wrong
// stands in the form's <output>.
async function post(address, values) {
  const answer = await fetch(address, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Edge-Ad": "page" },
    body: JSON.stringify(values),
  });
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.error);
  return content;
}

function notice(text) {
  const place = document.getElementById("notice");
  place.textContent = text;
  place.hidden = !text;
}

async function submit(event) {
  const form = event.target;
  if (!form.dataset.post) return;
  event.preventDefault();
  const output = form.querySelector("output");
  const values = Object.fromEntries(new FormData(form, event.submitter));
  if (event.submitter) event.submitter.disabled = true;
  try {
    await post(form.dataset.post, values);
    if (form.dataset.then) location.assign(form.dataset.then);
    else location.reload();
  } catch (error) {
    const text = error instanceof TypeError ? document.getElementById("notice").dataset.lost : error.message;
    if (output) output.textContent = text;
    else notice(text);
  } finally {
    if (event.submitter) event.submitter.disabled = false;
  }
}

document.addEventListener("submit", submit);
