// Passes the result of the frame on to the site, which verifies it.
"use strict";

window.addEventListener("message", (event) => {
  const frame = document.getElementById("toopher_iframe");
  // Another window may send messages too. The signature protects the site, and this check its users from delays.
  if (!frame || event.source !== frame.contentWindow || event.origin !== frame.dataset.origin) return;
  const { status, payload } = JSON.parse(event.data);
  if (status !== "toopher-api-complete") return;
  const form = document.getElementById("postback");
  for (const [name, value] of new URLSearchParams(payload)) {
    const input = document.createElement("input");
    input.type = "hidden";
    input.name = name;
    input.value = value;
    form.append(input);
  }
  form.submit();
});
