/**
 * The keyword `oneOf` with code that grows with its branches. Ajv's own nests each branch into the one before: 1 600 branches take it 3.7 s, and a
 * few thousand its stack.
 */
import { _, type CodeKeywordDefinition, type KeywordCxt, Name } from 'ajv/dist/2020.js';

/** In place of ajv's own. */
export const oneOf: CodeKeywordDefinition = {
  keyword: 'oneOf',
  schemaType: 'array',
  trackErrors: true,
  error: { message: 'must match exactly one schema in oneOf' },
  code(cxt: KeywordCxt) {
    const { gen, schema } = cxt;
    const matching = gen.let('matching', 0);
    const isValid = gen.let('valid', false);
    const branchValid = gen.name('_valid');
    const judge = () => {
      for (let i = 0; i < (schema as unknown[]).length; i++) {
        const branch = cxt.subschema({ keyword: 'oneOf', schemaProp: i, compositeRule: true }, branchValid);
        gen.if(branchValid, () => {
          gen.assign(matching, _`${matching} + 1`);
          cxt.mergeEvaluated(branch, Name);
        });
      }
      gen.assign(isValid, _`${matching} === 1`);
    };
    gen.block(judge);
    cxt.result(
      isValid,
      () => cxt.reset(),
      () => cxt.error(true),
    );
  },
};
