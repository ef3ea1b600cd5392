// Sends the forms, and says what came of it. A job that can be followed has a page of its own.

for (const form of document.forms) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const output = form.querySelector("output");
    output.className = "";
    output.textContent = "Sending …";
    try {
      const response = await fetch(form.action, { method: "POST", ...body(form) });
      const answer = await response.json();
      if (response.ok) await tell(form, output, answer);
      else complain(output, answer.detail);
    } catch {
      complain(output, "The shop cannot be reached. Try again.");
    }
  });
}

function body(form) {
  const data = new FormData(form);
  if (!("json" in form.dataset)) return { body: data };
  let value = Object.fromEntries(data);
  if (value.thing) value = { email: value.email, things: { [value.thing]: Number(value.quantity) } };
  return { body: JSON.stringify(value), headers: { "Content-Type": "application/json" } };
}

async function tell(form, output, answer) {
  if (answer.job) location.assign(`/jobs/${answer.job}`);
  else if (answer.jobs) output.replaceChildren("Thank you. Follow: ", ...links(answer.jobs));
  else if (answer.album) await showAlbum(form, output, answer.album);
  else output.textContent = "Welcome! There is mail for you.";
}

function links(jobs) {
  return Object.entries(jobs).flatMap(([name, id]) => {
    const link = document.createElement("a");
    link.href = `/jobs/${id}`;
    link.textContent = name;
    return [link, " "];
  });
}

async function showAlbum(form, output, album) {
  const wanted = form.elements.pictures.files.length + 1; // and the cover
  const place = form.querySelector(".thumbnails");
  for (let looks = 0, found = []; found.length < wanted && looks < 120; looks++) {
    found = (await (await fetch(`/albums/${album}`)).json()).thumbnails;
    output.textContent = `${found.length} of ${wanted} thumbnails`;
    place.replaceChildren(...found.map(thumbnail));
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

function thumbnail(path) {
  return Object.assign(new Image(), { src: `/files/${path}`, alt: path.split("/").at(-1) });
}

function complain(output, detail) {
  output.className = "complaint";
  output.textContent = typeof detail === "string" ? detail : detail.map((one) => one.msg).join("; ");
}
