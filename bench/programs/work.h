/* Three functions such as programs have: a picture made small, a query of a database in memory, a move looked
 * for. Whoever calls one, beside it or from afar, needs only these arguments and results. */
#pragma once

#include <glib.h>

#define WORK_JPEG_MAX      (2u << 20) /* bytes of a picture */
#define WORK_THUMBNAIL_MAX 65536
#define WORK_GROUPS_MAX    64
#define WORK_DEPTH_MAX     16

/* A JPEG of an eighth of the width and height of that in `jpeg`. Its bytes in `thumbnail`, which has `room`;
 * 0 for what is no picture, or has no room. (Decoding skips what the small picture does not show: libjpeg's
 * scaling.) */
gsize work_picture(const guint8 *jpeg, gsize length, guint8 *thumbnail, gsize room);

/* A photograph's like of 1280 x 960, which no other `seed` gives. Its bytes; `jpeg` has room for
 * WORK_JPEG_MAX. */
gsize work_picture_make(guint32 seed, guint8 *jpeg);

typedef struct {
  gint64 key, count, sum;
} WorkGroup;

/* Makes the database in memory: 100,000 sales with an index, about 4 MB, the same ones each time. */
void work_query_open(void);

/* Each shop's sales with prices from `low` to `high` whose article has a remainder above 1 by `modulus`: as
 * the index gives them. How many `groups`, at most WORK_GROUPS_MAX. */
guint work_query(gint64 low, gint64 high, gint64 modulus, WorkGroup *groups);

/* The same of groups by that remainder, which no index has: SQLite sorts, and leaves megabytes of memory
 * behind that it has written and given back to malloc. */
guint work_sort(gint64 low, gint64 high, gint64 modulus, WorkGroup *groups);

/* Four in a row, on seven columns of six: a column's lowest place is bit 7 * column, and above its highest
 * one a bit stays empty. */
typedef struct {
  guint64 own, both; /* the places of who moves, and of both players */
} WorkBoard;

typedef struct {
  gint32 column, score;
  guint64 boards; /* looked at */
} WorkMove;

/* The best move as far as `depth` half moves show, by alpha-beta. Column -1: the game is over, or `board` is
 * none. */
WorkMove work_search(const WorkBoard *board, guint depth);

/* A game that has begun: `moves` moves by chance, none of which wins. */
WorkBoard work_search_begin(guint32 seed, guint moves);
