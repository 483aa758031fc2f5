#include "replica/signature_table.h"

#include "replica/signature_sums.h"

#define NONE           G_MAXUINT32
#define ALIKE_MAX      16 /* blocks of one weak sum that are worth comparing */
#define BITS_PER_BLOCK 16
#define FILTER_BITS    12 /* at least, as a power of two */

typedef struct {
  guint32 next; /* of the same slot, or NONE */
  guint32 weak;
} Node;

struct SignatureTable {
  const Signature *const *sources;
  guint32 first[GENERATION_SOURCES_MAX + 1]; /* of each source's nodes */
  guint count;
  GArray *nodes;    /* of Node */
  guint32 *slots;   /* by the weak sum's highest bits */
  guint64 *filter;  /* by more of them */
  guint slot_shift; /* of the weak sum */
  guint filter_shift;
  gsize slot_room, filter_room; /* elements allocated */
};

SignatureTable *
signature_table_new(void)
{
  SignatureTable *table = g_new0(SignatureTable, 1);
  table->nodes = g_array_new(FALSE, FALSE, sizeof(Node));
  return table;
}

void
signature_table_free(SignatureTable *table)
{
  g_array_unref(table->nodes);
  g_free(table->slots);
  g_free(table->filter);
  g_free(table);
}

const guint64 *
signature_table_filter(const SignatureTable *table, guint *shift)
{
  *shift = table->filter_shift;
  return table->filter;
}

static gboolean
usable(const Signature *const *sources, guint source)
{
  return sources[source]->block == sources[0]->block &&
         sources[source]->blocks < NONE / GENERATION_SOURCES_MAX;
}

/* The shortest block, the last, is found by where it is, not by its sum. */
static guint64
whole_blocks(const Signature *signature)
{
  return signature->block ? signature->size / signature->block : 0;
}

static void
reserve(SignatureTable *table, guint64 nodes)
{
  guint bits = CLAMP(g_bit_storage(nodes * BITS_PER_BLOCK), FILTER_BITS, 32);
  guint slot_bits = bits - 3;
  table->filter_shift = 32 - bits;
  table->slot_shift = 32 - slot_bits;
  gsize words = (G_GUINT64_CONSTANT(1) << bits) / 64, slots = G_GUINT64_CONSTANT(1) << slot_bits;
  if (words > table->filter_room) {
    g_free(table->filter);
    g_free(table->slots);
    table->filter = g_new(guint64, words);
    table->slots = g_new(guint32, slots);
    table->filter_room = words;
    table->slot_room = slots;
  }
  memset(table->filter, 0, words * sizeof *table->filter);
  memset(table->slots, 0xff, slots * sizeof *table->slots);
  g_array_set_size(table->nodes, 0);
}

static void
locate(const SignatureTable *table, guint32 node, guint *source, guint64 *block)
{
  *source = 0;
  while (node >= table->first[*source + 1])
    ++*source;
  *block = node - table->first[*source];
}

static guint64
strong_of(const SignatureTable *table, guint32 node)
{
  guint source;
  guint64 block, strong;
  guint32 weak;
  locate(table, node, &source, &block);
  signature_sum_get(g_bytes_get_data(table->sources[source]->sums, NULL), block, &weak, &strong);
  return strong;
}

/* Of blocks that are the same the first is kept; of those that only seem so, a few. */
static gboolean
worth_keeping(const SignatureTable *table, guint32 weak, guint64 strong)
{
  guint alike = 0;
  for (guint32 at = table->slots[weak >> table->slot_shift]; at != NONE;) {
    const Node *node = &g_array_index(table->nodes, Node, at);
    if (node->weak == weak && (++alike == ALIKE_MAX || strong_of(table, at) == strong))
      return FALSE;
    at = node->next;
  }
  return TRUE;
}

static void
put(SignatureTable *table, const guint8 *sums, guint64 block)
{
  Node node = {.next = NONE};
  guint64 strong;
  signature_sum_get(sums, block, &node.weak, &strong);
  guint32 index = table->nodes->len;
  if (worth_keeping(table, node.weak, strong)) {
    guint32 *slot = &table->slots[node.weak >> table->slot_shift];
    node.next = *slot;
    *slot = index;
    guint32 bit = node.weak >> table->filter_shift;
    table->filter[bit / 64] |= G_GUINT64_CONSTANT(1) << bit % 64;
  }
  g_array_append_val(table->nodes, node);
}

void
signature_table_fill(SignatureTable *table, const Signature *const *sources, guint count)
{
  guint64 nodes = 0;
  for (guint i = 0; i < count; i++) {
    table->first[i] = nodes;
    nodes += usable(sources, i) ? whole_blocks(sources[i]) : 0;
  }
  table->first[count] = nodes;
  table->sources = sources;
  table->count = count;
  reserve(table, nodes);
  for (guint i = 0; i < count; i++) {
    guint64 blocks = table->first[i + 1] - table->first[i];
    for (guint64 block = 0; block < blocks; block++)
      put(table, g_bytes_get_data(sources[i]->sums, NULL), block);
  }
}

gboolean
signature_table_find(const SignatureTable *table, guint32 weak, SignatureStrong strong, gpointer user_data,
                     guint *source, guint64 *block)
{
  gboolean asked = FALSE;
  guint64 wanted = 0;
  for (guint32 at = table->slots[weak >> table->slot_shift]; at != NONE;) {
    const Node *node = &g_array_index(table->nodes, Node, at);
    if (node->weak == weak) {
      if (!asked)
        wanted = strong(user_data);
      asked = TRUE;
      if (strong_of(table, at) == wanted) {
        locate(table, at, source, block);
        return TRUE;
      }
    }
    at = node->next;
  }
  return FALSE;
}
