"use strict";
// The live view. One WebSocket for all cameras: we ask for the next message when the last one is
// drawn, and close it while the page is hidden.
const tiles = document.getElementById("live");
const QUIET_MS = 8000;
const LONGEST_PAUSE_MS = 10000;
let socket = null;
let pauseMs = 500;
let quiet = 0;
let later = 0;

function tilesByCamera() {
  return new Map([...tiles.querySelectorAll(".tile")].map((tile) => [tile.dataset.camera, tile]));
}

function write(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

function listFaults(list, faults) {
  const state = JSON.stringify(faults);
  if (list.dataset.state === state) return;
  list.dataset.state = state;
  list.replaceChildren(...faults.map((fault) => {
    const item = document.createElement("li");
    for (const [tag, text] of [["strong", fault.kind], ["em", fault.advice], ["small", fault.reason]]) {
      if (!text) continue;
      const part = document.createElement(tag);
      part.textContent = text;
      item.append(part, " ");
    }
    return item;
  }));
}

async function draw(tile, camera, jpeg) {
  const bitmap = await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
  const canvas = tile.querySelector("canvas");
  if (canvas.width !== bitmap.width) canvas.width = bitmap.width;
  if (canvas.height !== bitmap.height) canvas.height = bitmap.height;
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0);
  const scale = camera.size ? bitmap.width / camera.size[0] : 1;
  bitmap.close();
  context.lineWidth = 3;
  context.strokeStyle = "#ff2d3d";
  for (const [x, y, width, height] of camera.regions) {
    context.strokeRect(x * scale - 3, y * scale - 3, width * scale + 6, height * scale + 6);
  }
  tile.dataset.frame = camera.part;
}

// An image must not stand under the verdict of another part.
function clear(tile) {
  const canvas = tile.querySelector("canvas");
  canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
  delete tile.dataset.frame;
}

// Without a connection nothing is known: a verdict that stayed would be taken for the present one.
function forget() {
  for (const tile of tiles.querySelectorAll(".tile")) {
    tile.dataset.verdict = "NONE";
    tile.dataset.state = "lost";
    for (const place of tile.querySelectorAll("[data-f]")) write(place, "");
    write(tile.querySelector("[data-f=verdict_text]"), tiles.dataset.unknown);
    tile.querySelector(".level").setAttribute("width", 0);
    listFaults(tile.querySelector(".alarms"), []);
    clear(tile);
  }
}

async function show(message) {
  const length = new DataView(message).getUint32(0);
  const now = JSON.parse(new TextDecoder().decode(new Uint8Array(message, 4, length)));
  const known = tilesByCamera();
  if (now.cameras.length !== known.size || now.cameras.some((camera) => !known.has(camera.camera))) {
    location.reload();
    return;
  }
  listFaults(document.querySelector("#problems ul"), now.problems);
  let at = 4 + length;
  for (const camera of now.cameras) {
    const tile = known.get(camera.camera);
    tile.dataset.verdict = camera.verdict;
    tile.dataset.state = camera.state;
    for (const place of tile.querySelectorAll("[data-f]")) write(place, camera[place.dataset.f]);
    tile.querySelector(".level").setAttribute("width", (camera.level || 0) * 200);
    listFaults(tile.querySelector(".alarms"), camera.faults);
    if (camera.bytes) {
      await draw(tile, camera, new Uint8Array(message, at, camera.bytes)).catch(() => {});
      at += camera.bytes;
    } else if (tile.dataset.frame !== String(camera.part)) {
      clear(tile);
    }
  }
}

function wait() {
  clearTimeout(quiet);
  quiet = setTimeout(() => socket && socket.close(), QUIET_MS);
}

function open() {
  if (socket || document.hidden) return;
  clearTimeout(later);
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const opened = new WebSocket(`${scheme}//${location.host}/live/feed`);
  socket = opened;
  opened.binaryType = "arraybuffer";
  opened.onopen = () => { opened.send("next"); wait(); };
  opened.onmessage = async (event) => {
    pauseMs = 500;
    notice("");
    wait();
    await show(event.data);
    if (opened.readyState === WebSocket.OPEN) opened.send("next");
  };
  opened.onclose = () => {
    if (socket !== opened) return;
    socket = null;
    clearTimeout(quiet);
    if (document.hidden) return;
    notice(tiles.dataset.lost);
    forget();
    later = setTimeout(open, pauseMs);
    pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS);
  };
  wait();
}

function close() {
  clearTimeout(quiet);
  clearTimeout(later);
  if (socket) socket.close();
  socket = null;
}

document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
addEventListener("pagehide", close);
addEventListener("pageshow", open);
open();
