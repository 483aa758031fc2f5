#include "loop.h"

#define ITERATIONS_MAX 400 /* in a row: whoever needs more is in a loop of its own */
#define LAST_MAX       2000

static struct {
  LoopTurn turn;
  void (*last)(gpointer data);
  gpointer data;
  gboolean quit;
} loop_state;

void __wrap_g_main_loop_run(GMainLoop *loop);
void __wrap_g_main_loop_quit(GMainLoop *loop);

void
loop_set(LoopTurn turn, void (*last)(gpointer data), gpointer data)
{
  loop_state.turn = turn;
  loop_state.last = last;
  loop_state.data = data;
  loop_state.quit = FALSE;
}

void
loop_quit(void)
{
  loop_state.quit = TRUE;
}

void
__wrap_g_main_loop_quit(GMainLoop *loop)
{
  loop_quit();
}

void
__wrap_g_main_loop_run(GMainLoop *loop)
{
  GMainContext *context = g_main_loop_get_context(loop);
  while (!loop_state.quit && loop_state.turn(loop_state.data))
    for (guint i = 0; !loop_state.quit && g_main_context_iteration(context, FALSE); i++)
      if (i > ITERATIONS_MAX)
        __builtin_trap();
  loop_state.last(loop_state.data);
  for (guint i = 0; !loop_state.quit; i++) {
    g_main_context_iteration(context, FALSE);
    if (i > LAST_MAX)
      __builtin_trap();
  }
}
