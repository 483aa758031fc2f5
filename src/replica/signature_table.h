/* The blocks of some signatures by their weak sums. */
#pragma once

#include "replica/signature.h"

typedef struct SignatureTable SignatureTable;

SignatureTable *signature_table_new(void);
void signature_table_free(SignatureTable *table);

/* Empties the table and puts in the whole blocks of those sources (which must live as long as the table is
 * asked) that have the first one's length of a block. */
void signature_table_fill(SignatureTable *table, const Signature *const *sources, guint count);

/* A bit map that says of most weak sums at once that no block has them: bit weak >> shift. */
const guint64 *signature_table_filter(const SignatureTable *table, guint *shift);

/* A block with these sums. `strong` is only asked for where a weak sum agrees. FALSE: there is none. */
typedef guint64 (*SignatureStrong)(gpointer user_data);
gboolean signature_table_find(const SignatureTable *table, guint32 weak, SignatureStrong strong,
                              gpointer user_data, guint *source, guint64 *block);
