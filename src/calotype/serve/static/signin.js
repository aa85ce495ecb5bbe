// The token that the owner of the service gave out, once; a cookie that no script can read keeps it.

import { $, problem } from "./dom.js";

$("#sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  const wrong = $("#wrong");
  problem(wrong);
  const token = $("#token").value.trim();
  try {
    const answer = await fetch(`/?token=${encodeURIComponent(token)}`);
    if (answer.status === 401) throw new Error("This is not the token. Whoever started the service has it.");
    if (!answer.ok) throw new Error(`The service answered ${answer.status}.`);
    const asked = new URLSearchParams(location.search).get("to") ?? "/";
    const to = new URL(URL.canParse(asked, location.origin) ? asked : "/", location.origin);
    location.assign(to.origin === location.origin ? to.href : "/"); // only ever to a page of this service
  } catch (error) {
    problem(wrong, error instanceof TypeError ? new Error("The service does not answer. Is it still running?") : error);
  }
});
