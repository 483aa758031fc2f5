/* What is kept, and why; and how that is written down. */
#include "base/error.h"
#include "replica/generation_retention.h"

#define HOUR (3600 * G_GINT64_CONSTANT(1000000000))

/* Generations 1, 2 ... so many hours after each other. */
static GenerationHead *
some_head(guint count, guint hours)
{
  GenerationHead *head = generation_head_new();
  for (guint i = 1; i <= count; i++) {
    GenerationRecord *record = generation_record_new();
    record->number = i;
    record->kept_ns = i * hours * HOUR;
    g_ptr_array_add(head->generations, record);
  }
  return head;
}

static guint
reasons(GHashTable *kept, guint64 number)
{
  return GPOINTER_TO_UINT(g_hash_table_lookup(kept, &number));
}

static void
test_reasons(void)
{
  g_autoptr(GenerationHead) head = some_head(100, 6);
  GArray *pins = g_array_new(FALSE, FALSE, sizeof(guint64));
  guint64 pinned[] = {2, 100, 4711};
  g_array_append_vals(pins, pinned, G_N_ELEMENTS(pinned));
  g_auto(GenerationRetention) retention = {.last = 3, .days = 2, .pins = pins};
  g_autoptr(GHashTable) kept = generation_retention_keep(head, &retention);
  g_assert_cmpuint(reasons(kept, 100), ==,
                   GENERATION_KEPT_NEWEST | GENERATION_KEPT_LAST | GENERATION_KEPT_DAILY |
                       GENERATION_KEPT_PINNED);
  g_assert_cmpuint(reasons(kept, 99), ==, GENERATION_KEPT_LAST | GENERATION_KEPT_DAILY);
  g_assert_cmpuint(reasons(kept, 98), ==, GENERATION_KEPT_LAST);
  g_assert_cmpuint(reasons(kept, 97), ==, 0);
  g_assert_cmpuint(reasons(kept, 2), ==, GENERATION_KEPT_PINNED);
  g_assert_cmpuint(g_hash_table_size(kept), ==, 4);
}

/* Whatever the rules, the newest. */
static void
test_nothing(void)
{
  g_autoptr(GenerationHead) head = some_head(5, 1), none = some_head(0, 1);
  const GenerationRetention retention = {0}, all = {.last = GENERATION_RETENTION_MOST};
  g_autoptr(GHashTable) kept = generation_retention_keep(head, &retention);
  g_assert_cmpuint(g_hash_table_size(kept), ==, 1);
  g_assert_cmpuint(reasons(kept, 5), ==, GENERATION_KEPT_NEWEST);
  g_autoptr(GHashTable) nothing = generation_retention_keep(none, &all);
  g_assert_cmpuint(g_hash_table_size(nothing), ==, 0);
  g_autoptr(GHashTable) everything = generation_retention_keep(head, &all);
  g_assert_cmpuint(g_hash_table_size(everything), ==, 5);
}

static void
test_text(void)
{
  g_autoptr(GError) error = NULL;
  GArray *pins = g_array_new(FALSE, FALSE, sizeof(guint64));
  guint64 pinned[] = {7, G_MAXINT64};
  g_array_append_vals(pins, pinned, G_N_ELEMENTS(pinned));
  g_auto(GenerationRetention)
      retention = {.last = 1, .hours = 2, .days = 3, .weeks = 0, .months = 5, .pins = pins};
  g_auto(GenerationRetention) read = {0};
  g_autofree char *text = generation_retention_format(&retention);
  g_assert_true(generation_retention_parse(text, &read, &error));
  g_assert_no_error(error);
  g_autofree char *again = generation_retention_format(&read);
  g_assert_cmpstr(again, ==, text);
  static const char *const damaged[] = {"",
                                        "doppel keep 2\n",
                                        "doppel keep 1\nlast\n",
                                        "doppel keep 1\nlast -1\n",
                                        "doppel keep 1\nlast 99999\n",
                                        "doppel keep 1\npin 0\n",
                                        "doppel keep 1\nyearly 3\n",
                                        "doppel keep 1\n\nlast 3\n"};
  for (guint i = 0; i < G_N_ELEMENTS(damaged); i++) {
    GenerationRetention none;
    g_assert_false(generation_retention_parse(damaged[i], &none, &error));
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
    g_clear_error(&error);
  }
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/replica/retention/reasons", test_reasons);
  g_test_add_func("/replica/retention/nothing", test_nothing);
  g_test_add_func("/replica/retention/text", test_text);
  return g_test_run();
}
