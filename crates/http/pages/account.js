// What the pages that links in mails lead to do: they post their form, once somebody presses its
// button, and tell what came of it.
"use strict";

/** Longer than the service takes for any answer. */
const PATIENCE_MS = 15_000;

const INCOMPLETE =
  "This link is incomplete. Open the link in the mail again, or copy all of it into the address bar.";
const INVALID =
  "This link does not work any more: it was used, a newer mail replaced it, or it is too old.";
const AWAY = "The service cannot be reached right now. Wait a moment, then try again.";
const FAILED = "Something went wrong. Try again later.";

const main = document.getElementById("main");
const again = document.getElementById("again");
const result = document.getElementById("result");
const show = document.getElementById("show");

// From the link or, when the page is loaded again, from where it was kept.
const token = new URLSearchParams(location.search).get("token") || history.state?.token;
// Neither the list of visited pages nor whoever looks at the screen needs to see it.
history.replaceState({ token }, "", location.pathname);

/** Tells the outcome, and takes keyboard and screen reader there. */
function tell(text, isGood) {
  result.textContent = text;
  result.className = isGood ? "good" : "bad";
  result.focus();
}

/** Says at its field what is wrong with it; `null` says that nothing is. */
function mark(input, message) {
  document.getElementById(`${input.id}-error`).textContent = message ?? "";
  if (message) {
    input.setAttribute("aria-invalid", "true");
  } else {
    input.removeAttribute("aria-invalid");
  }
}

function offerAnotherMail(text) {
  main.hidden = true;
  again.hidden = false;
  tell(text, false);
}

function seconds(response) {
  const wait = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  return Number.isNaN(wait) ? "a minute" : wait === 1 ? "1 second" : `${wait} seconds`;
}

/** What a refusal says, at its fields or below the form. */
async function refused(response, inputs) {
  const problem = await response.json().catch(() => ({}));
  if (problem.code === "invalid_token") {
    return offerAnotherMail(INVALID);
  }
  if (problem.code === "validation_failed") {
    const errors = new Map(problem.errors.map((error) => [error.field, error.message]));
    const wrong = inputs.filter((input) => errors.has(input.name));
    wrong.forEach((input) => mark(input, `This ${errors.get(input.name)}.`));
    if (wrong.length > 0) {
      return wrong[0].focus();
    }
  }
  if (response.status === 429) {
    return tell(`Too many attempts. Wait ${seconds(response)}, then try again.`, false);
  }
  tell(response.status === 503 ? AWAY : FAILED, false);
}

async function send(form) {
  const inputs = [...form.querySelectorAll("input[name]")];
  const body = Object.fromEntries(inputs.map((input) => [input.name, input.value]));
  if (form === main) {
    body.token = token;
  }
  inputs.forEach((input) => mark(input, null));
  result.textContent = "";
  let response;
  try {
    response = await fetch(form.action, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
  } catch {
    return tell(AWAY, false);
  }
  if (!response.ok) {
    return refused(response, inputs);
  }
  form.reset();
  form.hidden = true;
  tell(form.dataset.success, true);
}

for (const form of [main, again]) {
  const button = form.querySelector("button");
  // Without this script a form would send what it holds to nowhere.
  button.disabled = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (form.ariaBusy === "true") {
      return;
    }
    // Not disabled: that would take the focus away from whoever pressed it.
    form.ariaBusy = "true";
    await send(form);
    form.ariaBusy = "false";
  });
}

show?.addEventListener("change", () => {
  document.getElementById("new_password").type = show.checked ? "text" : "password";
});

if (!token) {
  offerAnotherMail(INCOMPLETE);
}
