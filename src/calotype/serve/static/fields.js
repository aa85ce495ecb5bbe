// Form fields made of a JSON schema: the same names, ranges, choices and words that the service checks.

import { el, fresh } from "./dom.js";

/** The part of a schema that is not null, and whether null is allowed: an empty field then stands for the model's own setting. */
function narrowed(schema) {
  const several = schema.anyOf ?? schema.oneOf;
  if (!several) return [schema, false];
  const rest = several.filter((one) => one.type !== "null");
  const kept = rest.length === 1 ? rest[0] : rest.find((one) => one.enum) ?? rest[0] ?? {};
  return [{ ...schema, ...kept, anyOf: undefined, several: rest.length > 1 }, rest.length < several.length];
}

const low = (schema) => schema.minimum ?? schema.exclusiveMinimum;
const high = (schema) => schema.maximum ?? schema.exclusiveMaximum;

function words(value, own) {
  if (value === null || value === undefined) return own;
  if (Array.isArray(value)) return value.join(", ") || "none";
  return String(value);
}

/** One field. `read()` gives its value, undefined where it says what it says by default. */
export function field(name, given, own = "the model's own") {
  const [schema, optional] = narrowed(given);
  const id = fresh("field");
  const standard = given.default;
  const control = chooser(id, schema, optional, standard, own) ?? line(id, schema, standard, own);
  const help = given.description ?? given.help;
  const place = el("p", { class: "wrong", id: `${id}-wrong` });
  control.setAttribute("aria-describedby", `${id}-help ${id}-wrong`);
  const box = el(
    "div",
    { class: control.type === "checkbox" ? "field check" : "field", dataset: { name } },
    el("label", { htmlFor: id }, title(name)),
    control,
    schema.examples ? el("datalist", { id: `${id}-examples` }, schema.examples.map((one) => el("option", { value: one }))) : "",
    el("p", { class: "help", id: `${id}-help` }, [help, range(schema)].filter(Boolean).join(" · ")),
    place,
  );
  return {
    name,
    box,
    control,
    read: () => read(control, schema, optional, standard),
    clear: () => { control.removeAttribute("aria-invalid"); place.textContent = ""; },
    refuse: (message) => { control.setAttribute("aria-invalid", "true"); place.textContent = message; control.closest("details")?.setAttribute("open", ""); control.focus(); },
  };
}

/** The name of an option as a word; a setting keeps its place in the configuration, by which the docs know it. */
function title(name) {
  if (name.includes(".")) return name;
  const word = name.replaceAll("_", " ");
  return word[0].toUpperCase() + word.slice(1);
}

function range(schema) {
  const [from, to] = [low(schema), high(schema)];
  const far = 1e6;
  if (from !== undefined && to !== undefined && Math.abs(to) < far) return `${from} to ${to}`;
  if (from !== undefined && from !== 0 && Math.abs(from) < far) return `at least ${from}`;
  return "";
}

function chooser(id, schema, optional, standard, own) {
  if (schema.type === "boolean" && !optional) return el("input", { type: "checkbox", id, checked: Boolean(standard) });
  const choices = schema.enum ?? (schema.type === "boolean" ? [true, false] : schema.const !== undefined ? [schema.const] : null);
  if (!choices || schema.several) return null;
  const none = optional || standard === undefined ? el("option", { value: "" }, own) : null;
  const select = el("select", { id }, none, choices.map((choice) => el("option", { value: JSON.stringify(choice) }, words(choice, own))));
  if (standard !== undefined && standard !== null) select.value = JSON.stringify(standard);
  return select;
}

function line(id, schema, standard, own) {
  const numeric = schema.type === "integer" || schema.type === "number";
  return el("input", {
    id,
    type: numeric && !schema.several ? "number" : "text",
    step: numeric ? (schema.type === "integer" ? 1 : "any") : null,
    min: numeric && schema.minimum !== undefined ? schema.minimum : null,
    max: numeric && high(schema) !== undefined && high(schema) < 1e6 ? high(schema) : null,
    list: schema.examples ? `${id}-examples` : null,
    inputmode: numeric ? (schema.type === "integer" ? "numeric" : "decimal") : null,
    autocomplete: "off",
    placeholder: words(standard, own),
  });
}

function read(control, schema, optional, standard) {
  if (control.type === "checkbox") return control.checked === Boolean(standard) ? undefined : control.checked;
  const said = control.value.trim();
  if (said === "") return undefined;
  if (control.tagName === "SELECT") {
    const value = JSON.parse(said);
    return value === standard ? undefined : value;
  }
  if (control.type === "number") return Number(said);
  if (schema.type === "array") return said.split(/[\s,]+/).filter(Boolean).map((part) => (Number.isNaN(Number(part)) ? part : Number(part)));
  return Number.isNaN(Number(said)) ? said : Number(said);
}

/** The fields of a whole schema. `refused(error)` shows an error at its field, and says whether there was one. */
export function fields(schema, wanted = () => true, own = undefined) {
  const made = Object.entries(schema?.properties ?? {}).filter(([name, one]) => wanted(name, one)).map(([name, one]) => field(name, one, own));
  return {
    list: made,
    boxes: made.map((one) => one.box),
    values() {
      const said = made.map((one) => [one.name, one.read()]).filter(([, value]) => value !== undefined);
      return Object.fromEntries(said);
    },
    clear: () => made.forEach((one) => one.clear()),
    refused(error) {
      const last = String(error.field ?? "").split(".").at(-1);
      const one = made.find((each) => each.name === error.field) ?? made.find((each) => each.name.split(".").at(-1) === last);
      one?.refuse(error.message);
      return Boolean(one);
    },
  };
}

/** Two lists of fields that answer as one. */
export function joined(first, rest) {
  const list = [...first.list, ...rest.list];
  return {
    list,
    rest,
    values: () => ({ ...first.values(), ...rest.values() }),
    clear: () => { first.clear(); rest.clear(); },
    refused: (error) => (list.some((one) => one.name === error.field) ? (first.list.some((one) => one.name === error.field) ? first : rest).refused(error) : false),
    set(name, value) {
      const one = list.find((each) => each.name === name);
      if (!one || value === null || value === undefined) return;
      if (one.control.type === "checkbox") one.control.checked = Boolean(value);
      else one.control.value = one.control.tagName === "SELECT" ? JSON.stringify(value) : value;
    },
  };
}

/** A schema whose option `label` offers the classes of a model. */
export function withClasses(schema, model) {
  const properties = { ...schema?.properties };
  if (properties.label && model.classes.length) {
    properties.label = { ...properties.label, anyOf: [{ type: "string", enum: model.classes }, { type: "null" }] };
  }
  return { ...schema, properties };
}
