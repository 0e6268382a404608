// The rules ("Automate here"), which answer requests.

import { $, button, el, name, notice, show } from "./dom.js";

export function showRules(rules, phone) {
  $("rules-section").hidden = rules.length === 0;
  show($("rules"), rules.map((rule) => ({ key: rule.id, ...rule })), (rule) => line(rule, phone));
}

function line(rule, phone) {
  const { allow, action, requester, user, terminal } = rule;
  const item = el(
    "li",
    { class: "card" },
    el("p", {}, allow ? "Allowed: " : "Denied: ", name(action), " at ", name(requester), " as ", name(user), " from ", name(terminal)),
    button("Ask again", () => phone.run(item, async () => {
      await phone.call(`automations/${rule.id}/remove`, {});
      notice("You will be asked again.");
      await phone.refresh();
    })),
  );
  return item;
}
