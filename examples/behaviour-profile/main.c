/* behaviour-profile TREE LOG: which categories a user's visits speak of. README.md is its manual. */
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "history.h"

#define DAY (24 * 60 * 60)

typedef struct {
  int best;
  int period;
  double half_life;
  double share;
} Options;

typedef struct {
  const Category *category;
  double similarity;
} Score;

/* By word, how much these visits speak of it: each counts half as much as one a half-life later. */
static double *
user_vector(const Tree *tree, Visit *const *visits, gsize n, double half_life)
{
  double *weights = g_new0(double, tree->n_words);
  for (gsize i = 0; i < n; i++) {
    double age = (double)(visits[n - 1]->time - visits[i]->time) / DAY;
    double counts = half_life > 0 ? exp2(-age / half_life) : 1;
    for (gsize j = 0; j < visits[i]->n_words; j++)
      weights[visits[i]->words[j]] += counts * tree->telling[visits[i]->words[j]];
  }
  return weights;
}

/* The cosine of the angle between the user's vector and the category's. */
static double
similarity(const Category *category, const double *user, double user_norm)
{
  double norms = category->norm * user_norm;
  return norms > 0 ? vector_dot(&category->vector, user) / norms : 0;
}

static int
best_first(gconstpointer a, gconstpointer b)
{
  const Score *x = a, *y = b;
  if (x->similarity != y->similarity)
    return x->similarity < y->similarity ? 1 : -1;
  return strcmp(x->category->path, y->category->path);
}

/* A Score for each category, the best first. */
static Score *
score_categories(const Tree *tree, const double *user)
{
  Score *scores = g_new(Score, tree->categories->len);
  double squares = 0;
  for (guint32 word = 0; word < tree->n_words; word++)
    squares += user[word] * user[word];
  for (guint i = 0; i < tree->categories->len; i++) {
    scores[i].category = g_ptr_array_index(tree->categories, i);
    scores[i].similarity = similarity(scores[i].category, user, sqrt(squares));
  }
  qsort(scores, tree->categories->len, sizeof(Score), best_first);
  return scores;
}

static char *
day(gint64 time)
{
  g_autoptr(GDateTime) moment = g_date_time_new_from_unix_utc(time);
  return moment ? g_date_time_format(moment, "%Y-%m-%d") : g_strdup("?");
}

static void
print_profile(const Tree *tree, Visit *const *visits, gsize n, const Options *options)
{
  g_autofree double *user = user_vector(tree, visits, n, options->half_life);
  g_autofree Score *scores = score_categories(tree, user);
  g_autofree char *first = day(visits[0]->time), *last = day(visits[n - 1]->time);
  g_print("%s to %s: %zu visits\n", first, last, n);
  for (guint i = 0; i < MIN((guint)options->best, tree->categories->len) && scores[i].similarity > 0; i++)
    g_print("%4u  %.6f  %s\n", i + 1, scores[i].similarity, scores[i].category->path);
}

/* One profile of all visits, or one for each period in which there are some. */
static void
print_profiles(const Tree *tree, GPtrArray *visits, const Options *options)
{
  Visit **all = (Visit **)visits->pdata;
  if (options->period == 0) {
    print_profile(tree, all, visits->len, options);
    return;
  }
  /* The day begins before the first visit, before 1970, too. */
  gint64 start = all[0]->time - (all[0]->time % DAY + DAY) % DAY, length = (gint64)options->period * DAY;
  for (gsize i = 0, next; i < visits->len; i = next) {
    gint64 period = (all[i]->time - start) / length;
    for (next = i; next < visits->len && (all[next]->time - start) / length == period; next++)
      ;
    print_profile(tree, all + i, next - i, options);
  }
}

static int
fail(const char *why)
{
  g_printerr("behaviour-profile: %s\n", why);
  return 1;
}

int
main(int argc, char **argv)
{
  Options options = {.best = 10, .half_life = 30, .share = 0.5};
  const GOptionEntry entries[] = {
      {"best", 'n', 0, G_OPTION_ARG_INT, &options.best, "Print so many categories (10)", "N"},
      {"period", 'p', 0, G_OPTION_ARG_INT, &options.period, "A profile for every so many days of the log",
       "DAYS"},
      {"half-life", 0, 0, G_OPTION_ARG_DOUBLE, &options.half_life,
       "A visit counts half as much as one so many days later (30); 0: all count the same", "DAYS"},
      {"share", 0, 0, G_OPTION_ARG_DOUBLE, &options.share,
       "How much the words of a category count in the one above it, 0 to 1 (0.5)", "SHARE"},
      {NULL},
  };
  setlocale(LC_ALL, "");
  g_autoptr(GError) error = NULL;
  g_autoptr(GOptionContext) context = g_option_context_new("TREE LOG");
  g_option_context_set_summary(context,
                               "Prints the categories of a tree that the pages of a log speak of, by the\n"
                               "cosine between the words of the pages' titles and the categories' words.");
  g_option_context_add_main_entries(context, entries, NULL);
  if (!g_option_context_parse(context, &argc, &argv, &error))
    return fail(error->message);
  if (argc != 3)
    return fail("write: behaviour-profile TREE LOG; --help tells more");
  if (options.best < 1 || options.period < 0 || !(options.half_life >= 0) ||
      !(options.share >= 0 && options.share <= 1))
    return fail("--best is at least 1, --period and --half-life are at least 0, --share is from 0 to 1");

  g_autoptr(Tree) tree = tree_load(argv[1], &error);
  if (!tree)
    return fail(error->message);
  g_autoptr(GPtrArray) visits = history_load(argv[2], tree, &error);
  if (!visits)
    return fail(error->message);
  if (!tree_spread(tree, options.share, &error))
    return fail(error->message);
  print_profiles(tree, visits, &options);
  return ferror(stdout) ? fail("the output cannot be written") : 0;
}
