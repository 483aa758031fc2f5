#include "mirror/page_forecast.h"

#include <string.h>
#include <sys/random.h>

#include "mirror/copies.h"
#include "mirror/page_forecast_parts.h"

enum { BITS_MIN = 8, ENOUGH = 4 * FORECAST_UNIT, FADES = 8 /* by one part in so many, with each block */ };

typedef enum {
  MARK_ASKED = 1,
  MARK_WANTED = 2,
  MARK_ON_CREDIT = 4,
  MARK_TOUCHED = 8,
  MARK_UNTOUCHED = 16,
} Mark;

/* ---- pages ---- */

ForecastPage *
page_forecast_slot(const PageForecast *forecast, guint64 number)
{
  /* Neighbours times some numbers are neighbours again, or few heaps: folded once, they are not. */
  guint64 mixed = number * forecast->multiplier;
  gsize at = (mixed ^ mixed >> 32) * G_GUINT64_CONSTANT(0x9e3779b97f4a7c15) >> (64 - forecast->bits);
  while (forecast->pages[at].history && forecast->pages[at].number != number)
    at = (at + 1) & ((1 << forecast->bits) - 1);
  return &forecast->pages[at];
}

static ForecastPage *
known(const PageForecast *forecast, guint64 number)
{
  ForecastPage *page = page_forecast_slot(forecast, number);
  return page->history ? page : NULL;
}

typedef gboolean (*Keep)(const PageForecast *forecast, const ForecastPage *page);

/* Into another table: the pages that `keep` (NULL: all) is for. */
static void
rebuild(PageForecast *forecast, guint bits, Keep keep)
{
  g_autofree ForecastPage *former = g_steal_pointer(&forecast->pages);
  gsize slots = (gsize)1 << forecast->bits;
  forecast->pages = g_new0(ForecastPage, (gsize)1 << bits);
  forecast->bits = bits;
  forecast->count = 0;
  for (gsize i = 0; i < slots; i++) {
    if (!former[i].history || (keep && !keep(forecast, &former[i])))
      continue;
    *page_forecast_slot(forecast, former[i].number) = former[i];
    forecast->count++;
  }
}

ForecastPage *
page_forecast_insert(PageForecast *forecast, guint64 number, guint history)
{
  if (forecast->count == PAGE_FORECAST_PAGES)
    return NULL;
  if (forecast->count >= 1 << (forecast->bits - 1))
    rebuild(forecast, forecast->bits + 1, NULL);
  ForecastPage *page = page_forecast_slot(forecast, number);
  *page = (ForecastPage){.number = number, .history = history};
  forecast->count++;
  return page;
}

PageForecast *
page_forecast_new(void)
{
  PageForecast *forecast = g_new0(PageForecast, 1);
  forecast->bits = BITS_MIN;
  forecast->pages = g_new0(ForecastPage, 1 << BITS_MIN);
  if (getrandom(&forecast->multiplier, sizeof forecast->multiplier, GRND_NONBLOCK) < 0)
    forecast->multiplier = G_GUINT64_CONSTANT(0x9e3779b97f4a7c15);
  forecast->multiplier |= 1;
  page_forecast_judge(forecast);
  return forecast;
}

void
page_forecast_free(PageForecast *forecast)
{
  if (!forecast)
    return;
  g_free(forecast->path);
  g_free(forecast->pages);
  g_free(forecast);
}

guint
page_forecast_count(const PageForecast *forecast)
{
  return forecast->count;
}

/* ---- judging ---- */

static guint
outcomes_in(guint history)
{
  return g_bit_storage(history) - 1;
}

/* The history as it would be of a page known for `outcomes` blocks only. */
static guint
recent(guint history, guint outcomes)
{
  guint bit = 1u << outcomes;
  return bit | (history & (bit - 1));
}

/* Of all histories that end alike. */
typedef struct {
  guint64 touched, missed;
} Ending;

/* The experience with this very history; else with the most of its last outcomes that there is any with. */
static gboolean
is_good(const PageForecast *forecast, const Ending *endings, guint history)
{
  Ending best = {forecast->experience[history].touched, forecast->experience[history].missed};
  for (guint outcomes = outcomes_in(history); best.touched + best.missed < ENOUGH && outcomes > 0; outcomes--)
    best = endings[recent(history, outcomes)];
  return best.touched + best.missed < ENOUGH ? (history & 3) != 0 : best.touched >= best.missed;
}

void
page_forecast_judge(PageForecast *forecast)
{
  Ending endings[FORECAST_HISTORIES] = {0};
  for (guint history = 2; history < FORECAST_HISTORIES; history++)
    for (guint outcomes = 1; outcomes <= outcomes_in(history); outcomes++) {
      Ending *ending = &endings[recent(history, outcomes)];
      ending->touched += forecast->experience[history].touched;
      ending->missed += forecast->experience[history].missed;
    }
  for (guint history = 2; history < FORECAST_HISTORIES; history++)
    forecast->good[history] = is_good(forecast, endings, history);
}

gboolean
page_forecast_wants(PageForecast *forecast, guint64 address)
{
  ForecastPage *page = known(forecast, address / COPIES_PAGE);
  if (!page)
    return FALSE;
  if (page->marks & MARK_ASKED)
    return (page->marks & MARK_WANTED) != 0;
  page->marks |= MARK_ASKED;
  if (!forecast->good[page->history])
    return FALSE;
  if (page->history != FORECAST_ALWAYS) {
    if ((forecast->reserved + 1) * FORECAST_CREDIT > forecast->credit)
      return FALSE;
    forecast->reserved++;
    page->marks |= MARK_ON_CREDIT;
  }
  page->marks |= MARK_WANTED;
  return TRUE;
}

/* ---- learning ---- */

/* How many of `pages` from `address` on are worth a look. */
static guint64
bounded(guint64 address, guint64 pages)
{
  guint64 left = (G_MAXUINT64 / COPIES_PAGE) - address / COPIES_PAGE + 1;
  return MIN(MIN(pages, left), PAGE_FORECAST_PAGES);
}

void
page_forecast_touched(PageForecast *forecast, guint64 address, guint64 pages)
{
  guint64 end = address / COPIES_PAGE + bounded(address, pages);
  for (guint64 number = address / COPIES_PAGE; number < end; number++) {
    ForecastPage *page = known(forecast, number);
    if (!page)
      page = page_forecast_insert(forecast, number, 1);
    if (page)
      page->marks |= MARK_TOUCHED;
    else
      forecast->crowded = TRUE;
  }
}

void
page_forecast_untouched(PageForecast *forecast, guint64 address, guint64 pages)
{
  guint64 end = address / COPIES_PAGE + bounded(address, pages);
  for (guint64 number = address / COPIES_PAGE; number < end; number++) {
    ForecastPage *page = known(forecast, number);
    if (page)
      page->marks |= MARK_UNTOUCHED;
  }
}

static gboolean
has_outcome(guint marks)
{
  return (marks & (MARK_TOUCHED | MARK_UNTOUCHED)) || (marks & (MARK_ASKED | MARK_WANTED)) == MARK_ASKED;
}

static void
add_outcome(ForecastPage *page, gboolean touched)
{
  guint history = page->history << 1 | touched;
  page->history = history < FORECAST_HISTORIES ? history : recent(history, FORECAST_OUTCOMES);
}

static void
add_experience(PageForecast *forecast, const ForecastExperience *block)
{
  for (guint history = 2; history < FORECAST_HISTORIES; history++) {
    ForecastExperience *experience = &forecast->experience[history];
    if (!block[history].touched && !block[history].missed)
      continue;
    experience->touched += block[history].touched * FORECAST_UNIT - experience->touched / FADES;
    experience->missed += block[history].missed * FORECAST_UNIT - experience->missed / FADES;
  }
}

/* A block larger than any before brings what it touched more as credit, so that all of it can be wanted next.
 * No more is saved up than it takes to err once about every page. */
static void
add_credit(PageForecast *forecast, guint64 touched, guint64 useless)
{
  guint64 most = (guint64)forecast->count * FORECAST_CREDIT;
  forecast->credit -= MIN(forecast->credit, useless * FORECAST_CREDIT);
  if (touched > forecast->largest) {
    forecast->credit += (touched - forecast->largest) * FORECAST_CREDIT;
    forecast->largest = touched;
  }
  forecast->credit = MIN(forecast->credit + touched, most);
}

static gboolean
is_remembered(const PageForecast *forecast, const ForecastPage *page)
{
  return page->history != FORECAST_NEVER && (!forecast->crowded || (page->marks & MARK_TOUCHED));
}

static void
end_marks(PageForecast *forecast)
{
  for (gsize i = 0; i < (gsize)1 << forecast->bits; i++)
    forecast->pages[i].marks = 0;
  forecast->reserved = 0;
  forecast->crowded = FALSE;
}

void
page_forecast_block_end(PageForecast *forecast)
{
  ForecastExperience block[FORECAST_HISTORIES] = {0};
  guint64 touched = 0, useless = 0;
  gboolean forgets = forecast->crowded, learns = FALSE;
  for (gsize i = 0; i < (gsize)1 << forecast->bits; i++) {
    ForecastPage *page = &forecast->pages[i];
    if (!page->history || !has_outcome(page->marks))
      continue;
    gboolean is_touched = (page->marks & MARK_TOUCHED) != 0;
    block[page->history].touched += is_touched;
    block[page->history].missed += !is_touched;
    add_outcome(page, is_touched);
    touched += is_touched;
    useless += !is_touched && (page->marks & MARK_ON_CREDIT);
    forgets |= page->history == FORECAST_NEVER;
    learns = TRUE;
  }
  forecast->changed |= learns;
  add_experience(forecast, block);
  add_credit(forecast, touched, useless);
  if (forgets)
    rebuild(forecast, forecast->bits, is_remembered);
  end_marks(forecast);
  if (learns)
    page_forecast_judge(forecast);
}

static gboolean
has_history(const PageForecast *forecast, const ForecastPage *page)
{
  return page->history > 1;
}

void
page_forecast_block_cancel(PageForecast *forecast)
{
  rebuild(forecast, forecast->bits, has_history);
  end_marks(forecast);
}
