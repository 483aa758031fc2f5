#include "partition/integer.h"

#include <Cbc_C_Interface.h>
#include <dlfcn.h>
#include <signal.h>

/* The library brings LAPACK with it, 19 MB in all, and few programs need it: it is loaded for the first one
 * that does. A device may do without. */
#define LIBRARY "libCbcSolver.so.3"
#define CALLS(call)                                                                                          \
  call(newModel) call(loadProblem) call(setInteger) call(setLogLevel) call(setParameter)                     \
      call(setMaximumSeconds) call(solve) call(bestSolution) call(isProvenOptimal) call(isProvenInfeasible)  \
          call(isSecondsLimitReached) call(getColSolution) call(getObjValue) call(getNodeCount) call(status) \
              call(deleteModel)

typedef struct {
#define MEMBER(name) __typeof__(&Cbc_##name) name;
  CALLS(MEMBER)
#undef MEMBER
} Library;

static gboolean
load(Library *library)
{
  void *handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (!handle)
    return FALSE;
#define FIND(name)                                                                                           \
  library->name = dlsym(handle, "Cbc_" #name);                                                               \
  if (!library->name)                                                                                        \
    return FALSE;
  CALLS(FIND)
#undef FIND
  return TRUE;
}

/* NULL where there is none. */
static const Library *
library_get(void)
{
  static Library library;
  static gsize state; /* 1: not here, 2: here */
  if (g_once_init_enter(&state))
    g_once_init_leave(&state, load(&library) ? 2 : 1);
  return state == 2 ? &library : NULL;
}

static Cbc_Model *
model_of(const Library *cbc, const PartitionProgram *program)
{
  guint n = program->cost->len;
  g_autoptr(GArray) start = g_array_copy(program->start);
  int end = program->row->len;
  g_array_append_val(start, end);
  g_autofree double *least = g_new0(double, n + 1);
  Cbc_Model *model = cbc->newModel();
  cbc->loadProblem(model, n, program->row_least->len, (int *)(void *)start->data,
                   (int *)(void *)program->row->data, (double *)(void *)program->coefficient->data, least,
                   (double *)(void *)program->upper->data, (double *)(void *)program->cost->data,
                   (double *)(void *)program->row_least->data, (double *)(void *)program->row_most->data);
  for (guint i = 0; i < n; i++)
    if (g_array_index(program->integer, char, i))
      cbc->setInteger(model, i);
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
  const Library *cbc = library_get();
  if (!cbc)
    return PARTITION_GAVE_UP;
  static GMutex one_at_a_time;
  g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&one_at_a_time);
  Cbc_Model *model = model_of(cbc, program);
  cbc->setLogLevel(model, 0);
  for (guint i = 0; i < G_N_ELEMENTS(settings); i++)
    cbc->setParameter(model, settings[i].name, settings[i].value);
  if (seconds > 0)
    cbc->setMaximumSeconds(model, seconds);
  cbc->solve(model);

  PartitionVerdict verdict = PARTITION_GAVE_UP;
  const double *best = cbc->bestSolution(model);
  if (cbc->isProvenOptimal(model))
    verdict = PARTITION_SOLVED;
  else if (cbc->isProvenInfeasible(model))
    verdict = PARTITION_IMPOSSIBLE;
  else if (cbc->isSecondsLimitReached(model) && best)
    verdict = PARTITION_FOUND;
  if (verdict == PARTITION_SOLVED || verdict == PARTITION_FOUND) {
    memcpy(x, verdict == PARTITION_SOLVED ? cbc->getColSolution(model) : best,
           program->cost->len * sizeof *x);
    *objective = cbc->getObjValue(model);
  }
  *nodes += MAX(cbc->getNodeCount(model), 0);
  /* The library takes ^C to itself while it works. Who pressed it meant the program. */
  gboolean interrupted = cbc->status(model) == INTERRUPTED;
  cbc->deleteModel(model);
  if (interrupted)
    raise(SIGINT);
  return verdict;
}
