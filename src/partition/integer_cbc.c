#include "partition/integer.h"

#include <Cbc_C_Interface.h>
#include <signal.h>

static Cbc_Model *
model_of(const PartitionProgram *program)
{
  guint n = program->cost->len;
  g_autoptr(GArray) start = g_array_copy(program->start);
  int end = program->row->len;
  g_array_append_val(start, end);
  g_autofree double *least = g_new0(double, n + 1);
  Cbc_Model *model = Cbc_newModel();
  Cbc_loadProblem(model, n, program->row_least->len, (int *)(void *)start->data,
                  (int *)(void *)program->row->data, (double *)(void *)program->coefficient->data, least,
                  (double *)(void *)program->upper->data, (double *)(void *)program->cost->data,
                  (double *)(void *)program->row_least->data, (double *)(void *)program->row_most->data);
  for (guint i = 0; i < n; i++)
    if (g_array_index(program->integer, char, i))
      Cbc_setInteger(model, i);
  return model;
}

/* No tolerance of the library's is left as it is: they suit problems of industry, with some per cent to gain.
 */
static const struct {
  const char *name, *value;
} settings[] = {{"log", "0"},
                {"slogLevel", "0"},
                {"presolve", "off"},
                {"preprocess", "off"},
                {"primalTolerance", "1e-9"},
                {"dualTolerance", "1e-9"},
                {"integerTolerance", "1e-9"},
                {"ratioGap", "0"},
                {"allowableGap", "1e-10"}};

/* What Cbc_status() says when a signal ended it. */
#define INTERRUPTED 5

PartitionVerdict
partition_program_solve(const PartitionProgram *program, double seconds, double *x, double *objective,
                        guint *nodes)
{
  static GMutex one_at_a_time;
  g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&one_at_a_time);
  Cbc_Model *model = model_of(program);
  Cbc_setLogLevel(model, 0);
  for (guint i = 0; i < G_N_ELEMENTS(settings); i++)
    Cbc_setParameter(model, settings[i].name, settings[i].value);
  if (seconds > 0)
    Cbc_setMaximumSeconds(model, seconds);
  Cbc_solve(model);

  PartitionVerdict verdict = PARTITION_GAVE_UP;
  const double *best = Cbc_bestSolution(model);
  if (Cbc_isProvenOptimal(model))
    verdict = PARTITION_SOLVED;
  else if (Cbc_isProvenInfeasible(model))
    verdict = PARTITION_IMPOSSIBLE;
  else if (Cbc_isSecondsLimitReached(model) && best)
    verdict = PARTITION_FOUND;
  if (verdict == PARTITION_SOLVED || verdict == PARTITION_FOUND) {
    memcpy(x, verdict == PARTITION_SOLVED ? Cbc_getColSolution(model) : best, program->cost->len * sizeof *x);
    *objective = Cbc_getObjValue(model);
  }
  *nodes += MAX(Cbc_getNodeCount(model), 0);
  /* The library takes ^C to itself while it works. Who pressed it meant the program. */
  gboolean interrupted = Cbc_status(model) == INTERRUPTED;
  Cbc_deleteModel(model);
  if (interrupted)
    raise(SIGINT);
  return verdict;
}
