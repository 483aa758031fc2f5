/* What a forecast is made of, for the files that implement it and for the fuzzer of its decoder. */
#pragma once

#include "mirror/page_forecast.h"

enum {
  FORECAST_OUTCOMES = 8, /* remembered of a page */
  FORECAST_HISTORIES =
      2 << FORECAST_OUTCOMES, /* an outcome a bit, the last one lowest, below a bit that is set */
  FORECAST_ALWAYS = FORECAST_HISTORIES - 1, /* the full history of a page that was always touched */
  FORECAST_NEVER = 1 << FORECAST_OUTCOMES,  /* and never: such a page is forgotten */
  FORECAST_UNIT = 16,                       /* one experience; they fade */
  FORECAST_COUNT_MAX = PAGE_FORECAST_PAGES * FORECAST_UNIT * 16,
  FORECAST_CREDIT = 8, /* of these allow one useless push: one comes with each page touched */
};

typedef struct {
  guint64 number;  /* address / COPIES_PAGE */
  guint16 history; /* 0: a free slot */
  guint16 marks;   /* of this block */
} ForecastPage;

typedef struct {
  guint32 touched, missed; /* in FORECAST_UNIT */
} ForecastExperience;

struct PageForecast {
  char *path;          /* of its file; NULL: has none */
  ForecastPage *pages; /* open addressing; 2^bits slots, at most half of them taken */
  guint bits, count;
  guint64 multiplier; /* odd and random: a file cannot be made whose pages are all in one slot */
  ForecastExperience experience[FORECAST_HISTORIES];
  gboolean good[FORECAST_HISTORIES]; /* what follows of it */
  guint64 credit, largest;           /* FORECAST_CREDIT; pages */
  guint64 reserved;                  /* pages wanted in this block that count on credit */
  gboolean crowded, changed;
};

PageForecast *page_forecast_new(void);

/* The slot of a page: its own, or the free one where it would go. */
ForecastPage *page_forecast_slot(const PageForecast *forecast, guint64 number);

/* A page that is not known yet. NULL: there are too many. */
ForecastPage *page_forecast_insert(PageForecast *forecast, guint64 number, guint history);

/* After `experience` has changed. */
void page_forecast_judge(PageForecast *forecast);

/* What a file holds: numbers (LEB128): credit, largest; how many histories there is experience of, and each
 * with its counts; runs of pages in ascending order, each as the gap since the last one, pages, history.
 * FALSE for hostile bytes; the forecast, which must be new, is then to be freed. */
gboolean page_forecast_unpack(PageForecast *forecast, const guint8 *bytes, gsize length);
void page_forecast_pack(const PageForecast *forecast, GByteArray *into);
