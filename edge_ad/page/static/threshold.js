"use strict";
// The slider asks the server what a threshold would have done, one question at a time, the latest
// last; the answer is a part of this page.
const plot = document.getElementById("plot");
const slider = document.getElementById("slider");
const number = document.getElementById("number");
const answer = document.getElementById("answer");
let asking = false;
let waiting = null;

async function ask(values) {
  if (asking) {
    waiting = values;
    return;
  }
  asking = true;
  try {
    const query = new URLSearchParams({ camera: plot.dataset.camera, ...values });
    const got = await fetch(`/api/what-if?${query}`);
    const wrong = document.getElementById("wrong");
    if (got.ok) {
      show(await got.text(), "threshold" in values);
      wrong.textContent = "";
    } else {
      wrong.textContent = (await got.json()).error;
    }
  } catch {
    notice(document.getElementById("notice").dataset.lost);
  } finally {
    asking = false;
  }
  if (waiting) {
    const next = waiting;
    waiting = null;
    await ask(next);
  }
}

function show(text, typed) {
  answer.innerHTML = text;
  const about = answer.querySelector(".answer").dataset;
  if (typed) slider.value = about.position;
  else number.value = about.value;
  place(Number(about.position));
  const value = document.getElementById("apply-value");
  if (value) {
    value.value = about.value;
    document.getElementById("apply-shown").textContent = about.shown;
  }
}

function place(position) {
  const line = document.getElementById("line");
  const low = Number(plot.dataset.low);
  const high = Number(plot.dataset.high);
  const width = line.ownerSVGElement.viewBox.baseVal.width;
  const x = ((position - low + 0.5) / (high - low + 1)) * width;
  line.setAttribute("x1", x);
  line.setAttribute("x2", x);
}

if (plot) {
  const scroll = plot.parentElement; // on a phone, the threshold comes first
  scroll.scrollLeft = document.getElementById("line").getBoundingClientRect().left - plot.getBoundingClientRect().left - scroll.clientWidth / 2;
  slider.addEventListener("input", () => {
    place(Number(slider.value));
    ask({ position: slider.value });
  });
  document.getElementById("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    ask({ threshold: number.value.replace(",", ".") });
  });
}
