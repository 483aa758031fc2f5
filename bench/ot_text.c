/* What text work costs: real editing histories, applied keystroke by keystroke as operations, composed to
 * one, and (where their authors worked at once) carried through a server's order by transformation,
 * and through clones and entries. Each has to end in exactly the text that the history says. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "clonedoc/ot/op.h"
#include "trace.h"
#include "trace_clones.h"

static OtText *
text_of(const char *utf8)
{
  OtText *text = ot_text_new();
  gsize bytes = strlen(utf8), scalars;
  if (!ot_utf8_check(utf8, bytes, &scalars))
    g_error("the text of a history is no UTF-8");
  ot_text_insert(text, 0, utf8, bytes, scalars);
  return text;
}

static void
check_end(const char *what, const OtText *text, const Trace *trace)
{
  g_autofree char *copy = ot_text_copy(text, 0, ot_text_length(text), NULL);
  if (strcmp(copy, trace->end) != 0)
    g_error("%s: the text at the end is not the history's", what);
}

static OtOp *
op_of(const TracePatch *patch)
{
  return ot_op_new_edit(patch->at, patch->deleted, patch->inserted, patch->bytes);
}

static void
apply(const OtOp *op, OtText *text)
{
  g_autoptr(GError) error = NULL;
  if (!ot_op_apply(op, text, &error))
    g_error("%s", error->message);
}

static void
apply_all(const Trace *trace)
{
  g_autoptr(OtText) text = text_of(trace->start);
  for (guint i = 0; i < trace->patches->len; i++) {
    g_autoptr(OtOp) op = op_of(&g_array_index(trace->patches, TracePatch, i));
    apply(op, text);
  }
  check_end("applied", text, trace);
}

/* Of all from `first` on, `count` of them: halves, so that no keystroke is gone through more often than their
 * number has digits. */
static OtOp *
composed(const Trace *trace, guint first, guint count)
{
  if (count == 1)
    return op_of(&g_array_index(trace->patches, TracePatch, first));
  g_autoptr(OtOp) left = composed(trace, first, count / 2);
  g_autoptr(OtOp) right = composed(trace, first + count / 2, count - count / 2);
  return ot_op_compose(left, right);
}

static void
compose_all(const Trace *trace)
{
  g_autoptr(OtText) text = text_of(trace->start);
  g_autoptr(OtOp) all = composed(trace, 0, trace->patches->len);
  apply(all, text);
  check_end("composed", text, trace);
}

/* An author as the server sees them: what others did that they have not seen yet, as it is behind what they
 * did. */
typedef struct {
  GQueue unseen; /* of Foreign */
} Author;

typedef struct {
  OtOp *op;
  guint agent, number; /* the how manieth of its agent */
} Foreign;

static void
foreign_free(gpointer data)
{
  Foreign *foreign = data;
  ot_op_free(foreign->op);
  g_free(foreign);
}

/* Drops what the author had seen when they made this step. */
static void
catch_up(Author *author, const TraceStep *step)
{
  for (Foreign *first;
       (first = g_queue_peek_head(&author->unseen)) && first->number <= step->seen[first->agent];)
    foreign_free(g_queue_pop_head(&author->unseen));
}

/* The author's operation behind all that the server has; the later one in the server's order goes first. */
static OtOp *
carried(Author *author, OtOp *op)
{
  for (GList *each = author->unseen.head; each; each = each->next) {
    Foreign *foreign = each->data;
    OtOp *op_later, *foreign_later;
    ot_op_transform(op, foreign->op, &op_later, &foreign_later);
    ot_op_free(op);
    ot_op_free(foreign->op);
    op = op_later;
    foreign->op = foreign_later;
  }
  return op;
}

static void
transform_all(const Trace *trace)
{
  g_autoptr(OtText) text = text_of(trace->start);
  g_autofree Author *authors = g_new0(Author, trace->agents);
  g_autofree guint *made = g_new0(guint, trace->agents);
  for (guint i = 0; i < trace->steps->len; i++) {
    const TraceStep *step = &g_array_index(trace->steps, TraceStep, i);
    catch_up(&authors[step->agent], step);
    g_autoptr(OtOp) op = carried(&authors[step->agent], composed(trace, step->patch, step->patches));
    apply(op, text);
    made[step->agent]++;
    for (guint agent = 0; agent < trace->agents; agent++)
      if (agent != step->agent) {
        Foreign *foreign = g_new(Foreign, 1);
        *foreign = (Foreign){ot_op_copy(op), step->agent, made[step->agent]};
        g_queue_push_tail(&authors[agent].unseen, foreign);
      }
  }
  for (guint agent = 0; agent < trace->agents; agent++)
    g_queue_clear_full(&authors[agent].unseen, foreign_free);
  check_end("transformed", text, trace);
}

static int
compare_times(const void *a, const void *b)
{
  gint64 left = *(const gint64 *)a, right = *(const gint64 *)b;
  return (left > right) - (left < right);
}

static void
row(const char *name, const char *what, void (*work)(const Trace *), const Trace *trace, guint rounds)
{
  g_autofree gint64 *times = g_new(gint64, rounds);
  for (guint i = 0; i < rounds; i++) {
    gint64 start = clock_now_ns();
    work(trace);
    times[i] = clock_now_ns() - start;
  }
  qsort(times, rounds, sizeof *times, compare_times);
  printf("%-24s %-12s %9u %9.1f %9.1f..%.1f\n", name, what, trace->patches->len, times[rounds / 2] / 1e6,
         times[0] / 1e6, times[rounds - 1] / 1e6);
}

static gboolean
measure(const char *path, guint rounds, GError **error)
{
  g_autoptr(Trace) trace = trace_read(path, error);
  if (!trace) {
    g_prefix_error(error, "%s: ", path);
    return FALSE;
  }
  g_autofree char *name = g_path_get_basename(path);
  if (strstr(name, ".json"))
    *strstr(name, ".json") = '\0';
  if (trace->agents == 1) {
    row(name, "apply", apply_all, trace, rounds);
    row(name, "compose", compose_all, trace, rounds);
  } else {
    row(name, "transform", transform_all, trace, rounds);
    row(name, "clones", trace_through_clones, trace, 1);
  }
  return TRUE;
}

static int
compare_paths(gconstpointer a, gconstpointer b)
{
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Adds the histories of a folder, in the order of their names. */
static gboolean
find_histories(const char *folder, GPtrArray *paths, GError **error)
{
  g_autoptr(GDir) open = g_dir_open(folder, 0, error);
  for (const char *name; open && (name = g_dir_read_name(open));)
    if (g_str_has_suffix(name, ".json") || g_str_has_suffix(name, ".json.gz"))
      g_ptr_array_add(paths, g_build_filename(folder, name, NULL));
  g_ptr_array_sort(paths, compare_paths);
  return open != NULL;
}

static int
fail(const GError *error)
{
  fprintf(stderr, "ot_text: %s\n", error->message);
  return 1;
}

int
main(int argc, char **argv)
{
  int rounds = 5;
  g_autofree char *data = NULL;
  const GOptionEntry entries[] = {
      {"data", 0, 0, G_OPTION_ARG_FILENAME, &data, "All histories in that folder", "DIR"},
      {"rounds", 0, 0, G_OPTION_ARG_INT, &rounds, "Turns, of which the median is told (5)", "N"},
      {NULL},
  };
  g_autoptr(GOptionContext) context = g_option_context_new("[HISTORY...]");
  g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);
  g_autoptr(GError) error = NULL;
  g_option_context_set_summary(context, "What text work costs on editing histories, milliseconds.");
  g_option_context_add_main_entries(context, entries, NULL);
  if (!g_option_context_parse(context, &argc, &argv, &error) ||
      (data && !find_histories(data, paths, &error)))
    return fail(error);
  for (int i = 1; i < argc; i++)
    g_ptr_array_add(paths, g_strdup(argv[i]));
  printf("%-24s %-12s %9s %9s %9s\n", "history", "", "edits", "median", "range, ms");
  for (guint i = 0; i < paths->len; i++)
    if (!measure(paths->pdata[i], (guint)MAX(rounds, 1), &error))
      return fail(error);
  return 0;
}
