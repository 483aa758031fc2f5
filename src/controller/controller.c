#include "controller/controller.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/heap.h"
#include "base/io.h"
#include "controller/rerun.h"
#include "mirror/elf_facts.h"

gboolean
controller_counts(const MirrorThread *thread, void *user)
{
  return GPOINTER_TO_INT(thread->user) == THREAD_PROGRAM;
}

gboolean
controller_resume(Controller *controller, MirrorThread *thread, GError **error)
{
  return mirror_thread_resume(thread, rerun_request(controller), error);
}

/* A thread that stands on a breakpoint of ours is let past it once: its function's call is decided. */
gboolean
controller_resume_all(Controller *controller, GError **error)
{
  for (guint i = 0; i < controller->process->threads->len; i++) {
    MirrorThread *thread = controller->process->threads->pdata[i];
    if (thread->stopped && controller_counts(thread, NULL) && !controller_resume(controller, thread, error))
      return FALSE;
  }
  return TRUE;
}

/* ---- a function's entry ---- */

static gboolean
run_here(Controller *controller, MirrorThread *thread, Function *function, guint64 sp, guint64 back,
         GError **error)
{
  function->local++;
  if (!controller->timing.function && controller->options->place == RUN_PLACE_AUTO &&
      !controller->rerunning && mirror_breakpoint_add(controller->process, back, TRUE, NULL))
    controller->timing = (LocalTiming){
        function, thread, sp, back, clock_now_ns(), decide_processor_ns(controller), function->answer, FALSE};
  if (controller->rerunning) {
    /* Stepping over and answering calls at once: the trap must not be lost for the others. */
    ArchRegisters *registers = mirror_thread_registers(thread, error);
    if (registers && arch_breakpoint_pass(registers)) {
      thread->registers_changed = TRUE;
      return controller_resume_all(controller, error);
    }
  }
  if (!mirror_breakpoint_step_over(thread, error))
    return FALSE;
  return controller_resume_all(controller, error);
}

static gboolean
on_function(Controller *controller, MirrorThread *thread, Function *function, GError **error)
{
  guint64 top = 0;
  ArchRegisters *registers = mirror_thread_registers(thread, error);
  if (!registers || !mirror_memory_read(controller->process, arch_sp(registers), &top, sizeof top, error))
    return FALSE;
  guint64 sp = arch_sp(registers), back = arch_return_address(registers, top);
  function->calls++;
  if (controller->rerunning || !decide_remote(controller, function, registers))
    return run_here(controller, thread, function, sp, back, error);
  /* The breakpoint has fired; the mirror, which has none, begins at the function's first instruction. */
  arch_breakpoint_again(registers);
  thread->registers_changed = TRUE;
  controller->timing.spoiled = TRUE;
  if (controller_block(controller, thread, sp, back, function))
    return controller->exited || controller_resume_all(controller, error);
  return controller->exited || run_here(controller, thread, function, sp, back, error);
}

static gboolean
on_timed_return(Controller *controller, MirrorThread *thread, GError **error)
{
  LocalTiming *timing = &controller->timing;
  ArchRegisters *registers = mirror_thread_registers(thread, error);
  if (!registers)
    return FALSE;
  if (thread != timing->thread || !arch_frame_left(timing->sp, arch_sp(registers)))
    return mirror_breakpoint_step_over(thread, error);
  gint64 start = timing->start_ns, took = clock_now_ns() - start;
  LocalTiming over = *timing;
  Function *function = timing->function;
  guint64 back = timing->back;
  *timing = (LocalTiming){0};
  if (!functions_at(controller, back) && !mirror_breakpoint_remove(controller->process, back, error))
    return FALSE;
  if (!over.spoiled)
    decide_learn_local(controller, &over, took);
  timeline_local(controller, function->text, start, took);
  return mirror_thread_resume(thread, rerun_request(controller), error);
}

static gboolean
on_breakpoint(Controller *controller, const MirrorStop *stop, GError **error)
{
  if (controller->timing.function && stop->pc == controller->timing.back)
    return on_timed_return(controller, stop->thread, error);
  if (stop->pc == controller->loader_hook)
    return functions_modules_changed(controller, error) && mirror_breakpoint_step_over(stop->thread, error);
  Function *function = functions_at(controller, stop->pc);
  return function && function->watched ? on_function(controller, stop->thread, function, error)
                                       : mirror_breakpoint_step_over(stop->thread, error);
}

/* ---- stops of the primary while it runs here ---- */

static gboolean
on_new_thread(Controller *controller, const MirrorStop *stop, GError **error)
{
  mirror_thread_add(controller->process, stop->child);
  return controller_resume(controller, stop->thread, error);
}

/* Another program in the same process: the mirror of the former one means nothing any more. */
static gboolean
on_exec(Controller *controller, GError **error)
{
  home_forget(controller);
  checkpoints_new_image(controller);
  session_close(controller);
  controller->timing = (LocalTiming){0};
  controller->rerunning = FALSE;
  if (!mirror_process_renew(controller->process, controller->proc_fd, error) ||
      !controller_prepare_image(controller, error) || !home_image(controller, -1, error))
    return FALSE;
  char path[4096];
  ssize_t length = readlinkat(controller->process->directory, "exe", path, sizeof path - 1);
  if (length > 0) {
    path[length] = '\0';
    g_free(controller->program);
    controller->program = g_strdup(path);
  }
  return controller_resume(controller, mirror_thread_leader(controller->process), error);
}

static gboolean
on_group_stop(Controller *controller, MirrorThread *thread, GError **error)
{
  if (!mirror_thread_resume(thread, PTRACE_LISTEN, error))
    return FALSE;
  if (thread == mirror_thread_leader(controller->process))
    kill(getpid(), SIGSTOP);
  return TRUE;
}

gboolean
controller_stopped(Controller *controller, const MirrorStop *stop, GError **error)
{
  if (stop->kind != MIRROR_STOP_GONE && !stop->thread->armed && !mirror_breakpoints_arm(stop->thread, error))
    return FALSE;
  switch (stop->kind) {
  case MIRROR_STOP_GONE:
    if (stop->thread && stop->thread->tid == controller->pid) {
      controller->exited = TRUE;
      controller->exit_status = stop->status;
    } else if (stop->thread) {
      if (controller->timing.thread == stop->thread)
        controller->timing.function = NULL;
      mirror_thread_remove(stop->thread);
    }
    return TRUE;
  case MIRROR_STOP_BREAKPOINT:
    return on_breakpoint(controller, stop, error);
  case MIRROR_STOP_NEW_THREAD:
    return on_new_thread(controller, stop, error);
  case MIRROR_STOP_EXEC:
    return on_exec(controller, error);
  case MIRROR_STOP_GROUP:
    return on_group_stop(controller, stop->thread, error);
  case MIRROR_STOP_SYSCALL:
    return rerun_stop(controller, stop, error);
  default:
    return controller_resume(controller, stop->thread, error);
  }
}

gboolean
controller_stop(Controller *controller, pid_t tid, int status, GError **error)
{
  MirrorStop stop = mirror_stop_read(controller->process, tid, status);
  return controller_stopped(controller, &stop, error);
}

/* ---- the loop ---- */

/* The clone makes the mirror while the program runs here, and asks about files. */
static gboolean
answer_clone(Controller *controller, GError **error)
{
  for (;;) {
    GError *bad = NULL;
    g_autoptr(EngineMessage) message = g_queue_pop_head(controller->postponed);
    if (!message)
      message = engine_take(controller->link, &bad);
    if (bad)
      g_propagate_error(error, bad);
    if (!message)
      return !bad;
    if (!controller_message_between(controller, message, error))
      return FALSE;
  }
}

static void
work_link(Controller *controller)
{
  g_autoptr(GError) why = NULL;
  gboolean alive = link_work(controller->link, &why);
  if (answer_clone(controller, why ? NULL : &why) && alive)
    return;
  const char *reason = why ? why->message : "it makes no sense";
  explain(controller, "the session with the clone has ended: %s", reason);
  home_cut(controller, reason);
  session_close(controller);
}

static gboolean
turn(Controller *controller, GError **error)
{
  struct pollfd fds[3 + LINK_POLL_MAX] = {{.fd = controller->signals, .events = POLLIN},
                                          {.fd = home_fd(controller), .events = POLLIN},
                                          {.fd = checkpoints_fd(controller), .events = POLLIN}};
  int timeout = -1;
  guint count = 3;
  checkpoints_timeout(controller, &timeout);
  decide_timeout(controller, &timeout);
  if (controller->link)
    count += link_prepare(controller->link, fds + count, &timeout);
  if (poll(fds, count, timeout) < 0 && errno != EINTR)
    return doppel_error_errno(error, "waiting");
  if (controller->link)
    work_link(controller);
  if (fds[1].revents && !home_serve(controller, error))
    home_lost(controller, *error);
  if (!decide_relook(controller, error))
    return FALSE;
  if (!signals_own(controller))
    return TRUE;
  while (!controller->exited) {
    int status;
    pid_t tid = waitpid(-1, &status, __WALL | WNOHANG);
    if (tid <= 0)
      return TRUE;
    if (tid == controller->augmenter) {
      controller->augmenter = 0;
      home_cut(controller, "the local clone has ended");
      session_close(controller);
    } else if (!rerun_child_stop(controller, tid, status) &&
               !controller_stop(controller, tid, status, error)) {
      return FALSE;
    }
  }
  return TRUE;
}

/* A thread that dies while we look at it is no error of ours: its end is reported next. */
static gboolean
run(Controller *controller, GError **error)
{
  while (!controller->exited) {
    g_autoptr(GError) why = NULL;
    if ((turn(controller, &why) && checkpoints_turn(controller, &why)) || controller->exited)
      continue;
    int status;
    pid_t got = waitpid(controller->pid, &status, __WALL | WNOHANG);
    if (got == controller->pid && !WIFSTOPPED(status)) {
      controller->exited = TRUE;
      controller->exit_status = status;
      continue;
    }
    if (got != 0 || kill(controller->pid, 0) < 0) {
      if (got == controller->pid && controller_stop(controller, got, status, NULL))
        continue;
    }
    g_propagate_error(error, g_steal_pointer(&why));
    return FALSE;
  }
  return TRUE;
}

static gboolean
begin(Controller *controller, GError **error)
{
  MirrorThread *leader = mirror_thread_leader(controller->process);
  timeline_here(controller);
  if (controller->whole) {
    controller->whole->calls = 1;
    gboolean done = controller->options->place != RUN_PLACE_DEVICE &&
                    controller_block(controller, leader, G_MAXUINT64, 0, controller->whole);
    /* A session that was kept may have ended unnoticed. */
    if (!done && controller->kept && !controller->greeted && !controller->exited)
      done = controller_block(controller, leader, G_MAXUINT64, 0, controller->whole);
    if (done)
      return controller->exited || controller_resume_all(controller, error);
    controller->whole->local = 1;
  }
  return controller->exited || controller_resume(controller, leader, error);
}

static gboolean
find_program(Controller *controller, GError **error)
{
  controller->program = elf_facts_find_program(controller->options->argv[0], error);
  if (!controller->program)
    return FALSE;
  g_autoptr(GError) why = NULL;
  g_autoptr(ElfFacts) facts = elf_facts_read(controller->program, &why);
  char magic[2] = "";
  g_auto(Fd) fd = open(controller->program, O_RDONLY | O_CLOEXEC);
  if (facts)
    return elf_facts_check_program(facts, error);
  /* A script: the kernel starts its interpreter, and that is what is mirrored. */
  if (fd >= 0 && read(fd, magic, 2) == 2 && magic[0] == '#' && magic[1] == '!')
    return TRUE;
  g_propagate_error(error, g_steal_pointer(&why));
  return FALSE;
}

static void
clear(Controller *controller)
{
  home_forget(controller);
  checkpoints_close(controller);
  decide_close(controller);
  session_close(controller);
  g_queue_free(controller->postponed);
  for (guint i = 0; i < controller->functions->len; i++)
    pages_save(controller, controller->functions->pdata[i]);
  g_array_unref(controller->lent);
  g_ptr_array_unref(controller->functions);
  g_ptr_array_unref(controller->modules);
  g_hash_table_unref(controller->module_paths);
  g_hash_table_unref(controller->pointed);
  g_hash_table_unref(controller->pins);
  g_hash_table_unref(controller->let_go);
  g_ptr_array_unref(controller->tasks);
  g_array_unref(controller->signals_sent);
  pinlog_free(controller->log);
  mirror_process_free(controller->process);
  io_close(&controller->proc_fd);
  io_close(&controller->signals);
  g_free(controller->program);
  g_free(controller->why_no_session);
  g_free(controller->features_mask);
}

static int
end_as_program(int status)
{
  if (WIFEXITED(status))
    return WEXITSTATUS(status);
  /* The same end, without a second core file. */
  int number = WTERMSIG(status);
  sigset_t all;
  prctl(PR_SET_DUMPABLE, 0);
  setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
  signal(number, SIG_DFL);
  sigfillset(&all);
  kill(getpid(), number);
  sigprocmask(SIG_UNBLOCK, &all, NULL);
  return 128 + number;
}

/* Off the way of the first block: where there is a connection already, the mirror is made while the program
 * starts. */
static void
prepare_mirror(Controller *controller)
{
  g_autoptr(GError) why = NULL;
  if (!controller->link || controller->whole || session_start(controller, &why))
    return;
  explain(controller, "no mirror yet: %s", why->message);
  session_close(controller);
}

static gboolean
start_all(Controller *controller, GError **error)
{
  /* A command line that names nothing to run leaves a timeline from before alone. */
  if (!find_program(controller, error) || !functions_prepare(controller, error) ||
      !timeline_open(controller, error))
    return FALSE;
  /* The clone's processor is to be known before the program chooses its code by this one's. */
  const char *clone = controller->options->clone;
  gboolean early = controller->options->whole || (clone && strcmp(clone, "local") != 0);
  if (early && controller->options->place != RUN_PLACE_DEVICE &&
      (controller->options->whole || controller->functions->len)) {
    g_autoptr(GError) why = NULL;
    if (!session_open(controller, &why)) {
      if (g_error_matches(why, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
      }
      explain(controller, "no clone: %s", why->message);
      controller->why_no_session = g_strdup(why->message);
    }
  }
  return checkpoints_open(controller, error) && decide_open(controller, error) &&
         controller_launch(controller, error) && (prepare_mirror(controller), TRUE);
}

int
controller_run(const RunOptions *options, GError **error)
{
  Controller controller = {
      .options = options,
      .functions = g_ptr_array_new_with_free_func((GDestroyNotify)function_free),
      .modules = g_ptr_array_new_with_free_func((GDestroyNotify)symbols_close),
      .module_paths = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
      .pointed = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL),
      .lent = mirror_ranges_new(),
      .pins = g_hash_table_new_full(NULL, NULL, NULL, g_free),
      .let_go = g_hash_table_new_full(NULL, NULL, NULL, g_free),
      .tasks = g_ptr_array_new(),
      .postponed = g_queue_new(),
      .signals_sent = g_array_new(FALSE, FALSE, sizeof(ForwardedSignal)),
      .log = pinlog_new(),
      .proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC),
  };
  sigset_t ours;
  sigemptyset(&ours);
  static const int taken[] = {SIGCHLD, SIGINT,  SIGQUIT, SIGTERM, SIGHUP,  SIGUSR1,
                              SIGUSR2, SIGALRM, SIGCONT, SIGTSTP, SIGWINCH};
  for (gsize i = 0; i < G_N_ELEMENTS(taken); i++)
    sigaddset(&ours, taken[i]);
  sigprocmask(SIG_BLOCK, &ours, &controller.former_mask);
  signal(SIGPIPE, SIG_IGN);
  controller.signals = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
  heap_keep_freed();
  device_files_recover();
  gboolean ran = start_all(&controller, error) && begin(&controller, error) && run(&controller, error);
  timeline_close(&controller);
  if (ran) {
    functions_report_unseen(&controller);
    stats_write(&controller);
  } else if (controller.pid > 0 && !controller.exited)
    kill(controller.pid, SIGKILL);
  int status = controller.exit_status;
  session_keep(&controller);
  rerun_children_free(&controller);
  clear(&controller);
  return ran ? end_as_program(status) : -1;
}
