/* What a function's block is going to touch, learned from its earlier blocks, across runs: which of the pages
 * that the clone lacks should go ahead with the request.
 *
 * Of each page the outcomes of the last blocks are kept in which the clone lacked it: touched or not. How
 * pages with the same outcomes fared next is counted for all of them together, as branch predictors do; a
 * page is wanted when those fared well, or, while there is no experience, when it was touched in one of its
 * last two blocks. This is learned without a push, so that no page has to be tried to be judged.
 *
 * Where that errs, its cost is bounded for every program, also one that knows what was pushed and touches
 * other pages: let `need` be the pages touched that the clone lacked (what pulling alone moves) and `largest`
 * the most of them in one block; then useless pushes <= need / 4 + largest, since the forecast began. For: a
 * page touched in its last eight blocks may go, and to err once more about it takes eight touches again; any
 * other only while such pushes, useless so far, are less than need / 8 + largest.
 *
 * Pages are of COPIES_PAGE bytes; addresses within one are rounded down. For one thread at a time. */
#pragma once

#include <glib.h>

typedef struct PageForecast PageForecast;

enum {
  PAGE_FORECAST_PAGES = 65536, /* known of one function, at most: 256 MiB that it touches; 2 MiB of memory */
  PAGE_FORECAST_FILES = 256,   /* in one directory; the ones saved longest ago are removed */
};

/* What was saved in `directory` under `key` (the program's build and the function, say; any text), or, where
 * that is missing, damaged, hostile or of a later version, a forecast that knows nothing. Never NULL. */
PageForecast *page_forecast_load(const char *directory, const char *key);
void page_forecast_free(PageForecast *forecast);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PageForecast, page_forecast_free)

/* Should this page, which the clone lacks, be pushed ahead? To be asked for each such page of a block, before
 * it begins: what is asked for, not wanted and not touched is learned from, too. Asked again within the
 * block, the answer is the same. */
gboolean page_forecast_wants(PageForecast *forecast, guint64 address);

/* The clone pulled these pages, or used them after they were pushed. Can come from a hostile clone: what it
 * says costs no more than the bounds above. */
void page_forecast_touched(PageForecast *forecast, guint64 address, guint64 pages);

/* They were pushed and the clone did not touch them. What is reported as touched, too, was touched; what was
 * wanted and is reported as neither (it was not pushed after all) teaches nothing. */
void page_forecast_untouched(PageForecast *forecast, guint64 address, guint64 pages);

/* The block is over: learns from what was asked and reported since the last one. */
void page_forecast_block_end(PageForecast *forecast);
/* The block was given up: forgets that instead. */
void page_forecast_block_cancel(PageForecast *forecast);

/* Pages known, wanted or not. */
guint page_forecast_count(const PageForecast *forecast);

/* Replaces the file at one moment, if there is anything new; of two processes the last one wins. Makes the
 * directory (0700) where it is not there. FALSE with an error: the file is as it was. */
gboolean page_forecast_save(PageForecast *forecast, GError **error);
