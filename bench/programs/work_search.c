#include "programs/work.h"

enum { COLUMNS = 7, ROWS = 6, STRIDE = 7, WON = 10000, DIRECTIONS = 4 };

static const guint shifts[DIRECTIONS] = {1, STRIDE - 1, STRIDE, STRIDE + 1};
static const gint8 order[COLUMNS] = {3, 2, 4, 1, 5, 0, 6}; /* moves in the middle are mostly better */

static guint64
lowest(guint column)
{
  return G_GUINT64_CONSTANT(1) << column * STRIDE;
}

static guint64
column_places(guint column)
{
  return ((G_GUINT64_CONSTANT(1) << ROWS) - 1) << column * STRIDE;
}

static guint64
all_places(void)
{
  guint64 places = 0;
  for (guint column = 0; column < COLUMNS; column++)
    places |= column_places(column);
  return places;
}

/* Where rows of four begin that lie within `places`. */
static guint64
fours(guint64 places, guint shift)
{
  guint64 pairs = places & places >> shift;
  return pairs & pairs >> 2 * shift;
}

static gboolean
has_four(guint64 places)
{
  return fours(places, 1) || fours(places, STRIDE - 1) || fours(places, STRIDE) || fours(places, STRIDE + 1);
}

/* 0: the column is full. */
static guint64
drop(guint64 both, guint column)
{
  return (both + lowest(column)) & column_places(column);
}

/* How many more rows of four are still open to `own` than to the other. */
static gint32
judge(guint64 own, guint64 both)
{
  gint32 score = 0;
  guint64 every = all_places();
  for (guint i = 0; i < DIRECTIONS; i++)
    score += __builtin_popcountll(fours(every & ~(both ^ own), shifts[i])) -
             __builtin_popcountll(fours(every & ~own, shifts[i]));
  return score;
}

static gint32
best(guint64 own, guint64 both, guint depth, gint32 alpha, gint32 beta, WorkMove *move)
{
  move->boards++;
  move->column = -1;
  for (guint column = 0; column < COLUMNS; column++)
    if (drop(both, column) && has_four(own | drop(both, column))) {
      move->column = (gint32)column;
      return WON + (gint32)depth;
    }
  if (depth == 0 || both == all_places())
    return both == all_places() ? 0 : judge(own, both);
  for (guint i = 0; i < COLUMNS && alpha < beta; i++) {
    guint64 place = drop(both, order[i]);
    if (!place)
      continue;
    WorkMove reply = {.boards = move->boards};
    gint32 score = -best(both ^ own, both | place, depth - 1, -beta, -alpha, &reply);
    move->boards = reply.boards;
    if (score > alpha || move->column < 0)
      move->column = order[i];
    alpha = MAX(alpha, score);
  }
  return alpha;
}

static gboolean
is_board(const WorkBoard *board)
{
  if (board->both & ~all_places() || board->own & ~board->both)
    return FALSE;
  for (guint column = 0; column < COLUMNS; column++) { /* nothing hangs in the air */
    guint64 height = board->both & column_places(column);
    if (height & (height + lowest(column)))
      return FALSE;
  }
  return !has_four(board->own) && !has_four(board->both ^ board->own);
}

__attribute__((noinline)) WorkMove
work_search(const WorkBoard *board, guint depth)
{
  WorkMove move = {.column = -1};
  if (is_board(board) && depth <= WORK_DEPTH_MAX)
    move.score = best(board->own, board->both, depth, -2 * WON, 2 * WON, &move);
  return move;
}

WorkBoard
work_search_begin(guint32 seed, guint moves)
{
  WorkBoard board = {0};
  for (guint done = 0; done < moves;) {
    seed = seed * 1664525 + 1013904223;
    guint64 place = drop(board.both, (seed >> 16) % COLUMNS);
    if (!place || has_four(board.own | place))
      continue;
    board = (WorkBoard){board.both ^ board.own, board.both | place};
    done++;
  }
  return board;
}
