// Validates responses against the OpenAPI description. Supports the keywords that the description uses, and throws on
// others.

import { readFile } from 'node:fs/promises';

const DESCRIPTION = new URL('../../threads/http/openapi.json', import.meta.url);

/** Reads the OpenAPI description. */
export const description = async () => JSON.parse(await readFile(DESCRIPTION, 'utf8'));

const isObject = value => value !== null && typeof value === 'object' && !Array.isArray(value);
const TYPES = {
  object: isObject,
  array: Array.isArray,
  string: value => typeof value === 'string',
  integer: Number.isInteger,
  number: value => typeof value === 'number' && Number.isFinite(value),
  boolean: value => typeof value === 'boolean',
  null: value => value === null,
};

const KEYWORDS = {
  description: () => [],
  type: (types, value, at) => ([types].flat().some(type => TYPES[type](value)) ? [] : [`${at} is ${JSON.stringify(value)}, not ${[types].flat().join(' or ')}`]),
  enum: (values, value, at) => (values.includes(value) ? [] : [`${at} is '${value}', not one of ${values.join(', ')}`]),
  required: (names, value, at) => names.filter(name => isObject(value) && !(name in value)).map(name => `${at} lacks '${name}'`),
  minLength: (least, value, at) => (typeof value !== 'string' || value.length >= least ? [] : [`${at} is shorter than ${least}`]),
  maxLength: (most, value, at) => (typeof value !== 'string' || value.length <= most ? [] : [`${at} is longer than ${most}`]),
  minimum: (least, value, at) => (typeof value !== 'number' || value >= least ? [] : [`${at} is ${value}, below ${least}`]),
  maximum: (most, value, at) => (typeof value !== 'number' || value <= most ? [] : [`${at} is ${value}, above ${most}`]),
  maxItems: (most, value, at) => (!Array.isArray(value) || value.length <= most ? [] : [`${at} has more than ${most} items`]),
  pattern: (pattern, value, at) => (typeof value !== 'string' || new RegExp(pattern).test(value) ? [] : [`${at} is '${value}', which does not match ${pattern}`]),
};

/** Returns the deviations of `value` from `schema`, as texts. */
export function differences(schema, value, root, at = 'the response') {
  const inner = (part, of, where) => differences(part, of, root, where);
  if (schema.$ref) return inner(schema.$ref.split('/').slice(1).reduce((node, name) => node[name], root), value, at);
  return Object.entries(schema).flatMap(([keyword, rule]) => {
    if (keyword === 'properties') {
      return Object.entries(rule).flatMap(([name, part]) => (isObject(value) && name in value ? inner(part, value[name], `${at}.${name}`) : []));
    }
    if (keyword === 'additionalProperties') {
      const others = isObject(value) ? Object.keys(value).filter(name => !(name in (schema.properties ?? {}))) : [];
      return others.flatMap(name => (rule === false ? [`${at} has '${name}', which is not described`] : inner(rule, value[name], `${at}.${name}`)));
    }
    if (keyword === 'items') return Array.isArray(value) ? value.flatMap((item, index) => inner(rule, item, `${at}[${index}]`)) : [];
    if (!(keyword in KEYWORDS)) throw new Error(`unsupported keyword '${keyword}'`);
    return KEYWORDS[keyword](rule, value, at);
  });
}
