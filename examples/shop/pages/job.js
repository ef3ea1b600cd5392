// Follows one job. The browser reconnects by itself after most failures, and tells the server with
// Last-Event-ID what it has seen; only an answer that is no stream makes it give up.

const WORDS = { pending: "Waiting", processing: "Working", completed: "Done", failed: "Failed" };
const RETRY_MS = 2000;
const id = location.pathname.split("/").at(-1);
const element = (name) => document.getElementById(name);
let stream, timer;

function follow() {
  clearTimeout(timer);
  stream?.close();
  stream = new EventSource(`/jobs/${id}/events`);
  stream.addEventListener("open", () => (element("lost").hidden = true));
  stream.addEventListener("status", (event) => show(JSON.parse(event.data)));
  stream.addEventListener("error", onError);
}

async function onError() {
  const gaveUp = stream.readyState === EventSource.CLOSED;
  if (gaveUp && (await isMissing())) return showState("missing", "There is no such job");
  element("lost").hidden = false;
  if (gaveUp) timer = setTimeout(follow, RETRY_MS);
}

async function isMissing() {
  try {
    return (await fetch(`/jobs/${id}/status`)).status === 404;
  } catch {
    return false; // not even that comes through
  }
}

function show(job) {
  if (job.status === "completed" || job.status === "failed") stream.close();
  showState(job.status, WORDS[job.status]);
  showProgress(job.status === "completed" ? 100 : job.progress, job.status);
  showText("message", job.message);
  showText("error", job.error);
  showResult(job.result);
  const seconds = (job.updatedAt - job.createdAt) / 1000;
  element("times").textContent = `, after ${seconds.toFixed(1)} s`;
}

function showState(state, words) {
  element("lost").hidden = true;
  element("job").dataset.state = state;
  // A screen reader says what changes here: the word, and not each percent.
  if (element("state").textContent !== words) element("state").textContent = words;
  document.title = `Job: ${words.toLowerCase()}`;
}

function showProgress(percent, status) {
  element("bar").hidden = status === "pending" || (status === "failed" && percent === undefined);
  const bar = element("bar").querySelector("progress");
  if (percent === undefined) bar.removeAttribute("value");
  else bar.value = percent;
  element("percent").textContent = percent === undefined ? "" : `${Math.floor(percent)} %`;
}

function showText(name, text) {
  element(name).hidden = !text;
  element(name).textContent = text ?? "";
}

function showResult(result) {
  const fields = result !== null && typeof result === "object" ? Object.entries(result) : [];
  element("result").hidden = fields.length === 0;
  element("result").replaceChildren(...fields.flatMap(([name, value]) => [term(name), fact(name, value)]));
}

function term(name) {
  const dt = document.createElement("dt");
  dt.textContent = name;
  return dt;
}

function fact(name, value) {
  const dd = document.createElement("dd");
  if (name !== "file") {
    dd.textContent = typeof value === "number" ? value.toLocaleString("en") : String(value);
    return dd;
  }
  const link = document.createElement("a");
  link.href = `/files/${value}`;
  link.textContent = value.split("/").at(-1);
  dd.append(link);
  return dd;
}

element("id").textContent = decodeURIComponent(id);
element("retry").addEventListener("click", follow);
follow();
