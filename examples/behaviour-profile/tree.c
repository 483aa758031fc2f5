#include "tree.h"

#include <errno.h>
#include <math.h>
#include <string.h>

static gboolean bad(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

static gboolean
bad(GError **error, const char *format, ...)
{
  va_list words;
  va_start(words, format);
  g_autofree char *message = g_strdup_vprintf(format, words);
  va_end(words);
  g_set_error_literal(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, message);
  return FALSE;
}

static void
category_free(gpointer data)
{
  Category *category = data;
  vector_clear(&category->vector);
  g_ptr_array_free(category->children, TRUE);
  g_free(category->path);
  g_free(category);
}

static gboolean
parse_weight(const char *text, double *weight)
{
  char *end;
  *weight = g_ascii_strtod(text, &end);
  return end != text && *end == '\0' && isfinite(*weight) && *weight > 0;
}

static guint32
word_number(Tree *tree, const char *word)
{
  gpointer known = g_hash_table_lookup(tree->words, word);
  if (known)
    return GPOINTER_TO_UINT(known) - 1;
  g_hash_table_insert(tree->words, g_strdup(word), GUINT_TO_POINTER(++tree->n_words));
  return tree->n_words - 1;
}

static int
by_word(gconstpointer a, gconstpointer b)
{
  const VectorEntry *x = a, *y = b;
  return (x->word > y->word) - (x->word < y->word);
}

/* "word:weight word:weight ..." */
static gboolean
parse_words(Tree *tree, Vector *vector, const char *text, GError **error)
{
  g_auto(GStrv) pairs = g_strsplit_set(text, " ", -1);
  vector->entries = g_new(VectorEntry, g_strv_length(pairs));
  for (gsize i = 0; pairs[i]; i++) {
    double weight = 1;
    char *colon = strrchr(pairs[i], ':');
    if (*pairs[i] == '\0')
      continue;
    if (colon == pairs[i] || (colon && !parse_weight(colon + 1, &weight)))
      return bad(error, "\"%s\" is not WORD or WORD:WEIGHT", pairs[i]);
    if (colon)
      *colon = '\0';
    VectorEntry entry = {.word = word_number(tree, pairs[i]), .weight = (float)weight};
    vector->entries[vector->length++] = entry;
  }
  if (vector->length > 0)
    qsort(vector->entries, vector->length, sizeof(VectorEntry), by_word);
  for (gsize i = 1; i < vector->length; i++)
    if (vector->entries[i].word == vector->entries[i - 1].word)
      return bad(error, "a word is there twice");
  return TRUE;
}

/* Puts it under the category whose path is its own without the last part. */
static gboolean
hang(GHashTable *by_path, Category *category, GError **error)
{
  const char *slash = strrchr(category->path, '/');
  g_autofree char *above = slash ? g_strndup(category->path, (gsize)(slash - category->path)) : NULL;
  Category *parent = above ? g_hash_table_lookup(by_path, above) : NULL;
  if (above && !parent)
    return bad(error, "%s has to stand above %s", above, category->path);
  if (!g_hash_table_insert(by_path, category->path, category))
    return bad(error, "%s is there twice", category->path);
  if (parent)
    g_ptr_array_add(parent->children, category);
  return TRUE;
}

/* PATH, WEIGHT and words, divided by tabs. */
static gboolean
parse_line(Tree *tree, GHashTable *by_path, const char *line, GError **error)
{
  g_auto(GStrv) fields = g_strsplit(line, "\t", -1);
  if (g_strv_length(fields) != 3 || *fields[0] == '\0')
    return bad(error, "a line is PATH, WEIGHT and WORD:WEIGHT ..., divided by tabs");
  Category *category = g_new0(Category, 1);
  category->path = g_strdup(fields[0]);
  category->children = g_ptr_array_new();
  g_ptr_array_add(tree->categories, category);
  if (!parse_weight(fields[1], &category->weight))
    return bad(error, "\"%s\" is no weight", fields[1]);
  return parse_words(tree, &category->vector, fields[2], error) && hang(by_path, category, error);
}

/* As tf-idf has it: the rarer, the more it tells. */
static void
weigh_words(Tree *tree)
{
  g_autofree guint32 *seen = g_new0(guint32, tree->n_words);
  for (guint i = 0; i < tree->categories->len; i++) {
    const Vector *vector = &((Category *)g_ptr_array_index(tree->categories, i))->vector;
    for (gsize j = 0; j < vector->length; j++)
      seen[vector->entries[j].word]++;
  }
  tree->telling = g_new(double, tree->n_words);
  for (guint32 word = 0; word < tree->n_words; word++)
    tree->telling[word] = log(1 + (double)tree->categories->len / MAX(seen[word], 1));
}

Tree *
tree_load(const char *path, GError **error)
{
  g_autofree char *text = NULL;
  gsize length;
  if (!g_file_get_contents(path, &text, &length, error))
    return NULL;
  if (strlen(text) != length) {
    bad(error, "%s: this is no text: it has a byte 0", path);
    return NULL;
  }
  g_autoptr(Tree) tree = g_new0(Tree, 1);
  tree->categories = g_ptr_array_new_with_free_func(category_free);
  tree->words = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  g_autoptr(GHashTable) by_path = g_hash_table_new(g_str_hash, g_str_equal);
  gsize number = 1;
  for (char *line = text, *end; *line; line = end, number++) {
    end = line + strcspn(line, "\n");
    if (*end)
      *end++ = '\0';
    if (*line == '\0' || *line == '#')
      continue;
    if (!parse_line(tree, by_path, line, error)) {
      g_prefix_error(error, "%s:%zu: ", path, number);
      return NULL;
    }
  }
  if (tree->categories->len == 0) {
    bad(error, "%s: there is no category in it", path);
    return NULL;
  }
  weigh_words(tree);
  return g_steal_pointer(&tree);
}

void
tree_free(Tree *tree)
{
  g_ptr_array_free(tree->categories, TRUE);
  g_hash_table_destroy(tree->words);
  g_free(tree->telling);
  g_free(tree);
}

gint64
tree_find_word(const Tree *tree, const char *word)
{
  return (gint64)GPOINTER_TO_UINT(g_hash_table_lookup(tree->words, word)) - 1;
}

gboolean
tree_spread(Tree *tree, double share, GError **error)
{
  /* From the end: what is below a category stands after it. */
  for (guint i = tree->categories->len; i-- > 0;) {
    Category *category = g_ptr_array_index(tree->categories, i);
    for (gsize j = 0; j < category->vector.length; j++) {
      VectorEntry *entry = &category->vector.entries[j];
      entry->weight = (float)(entry->weight * tree->telling[entry->word]);
    }
    for (guint j = 0; j < category->children->len; j++) {
      const Category *child = g_ptr_array_index(category->children, j);
      vector_add(&category->vector, &child->vector, share * child->weight);
    }
    category->norm = vector_norm(&category->vector);
    if (!isfinite(category->norm))
      return bad(error, "%s: its weights, and those below it, are too large", category->path);
  }
  return TRUE;
}
