/* Runs what has a main loop of its own (a relay, a gateway) within one input: the linker gives it this
 * g_main_loop_run(), which lets the input have its turn between the loop's. See meson.build. */
#pragma once

#include <glib.h>

/* Has a turn; FALSE: there is nothing more to do, and the loop is to end by itself. */
typedef gboolean (*LoopTurn)(gpointer data);

/* For the loop that is run next. `last` makes it end: the other end of its link goes, say. */
void loop_set(LoopTurn turn, void (*last)(gpointer data), gpointer data);

/* As g_main_loop_quit(). */
void loop_quit(void);
