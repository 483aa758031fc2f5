/* Processes: children made in the block or before it, popen, system, spawn, exec; and who the process is. */
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static pid_t elder;
static int toward[2];
static pid_t pid, parent, group, session;
static char host[256], directory[4096];

static void
report(pid_t child)
{
  int status = 0;
  pid_t got = waitpid(child, &status, 0);
  printf("waited: %d, ", got == child);
  if (WIFEXITED(status))
    printf("exit %d\n", WEXITSTATUS(status));
  else
    printf("signal %d\n", WTERMSIG(status));
}

static void
fork_inside(int round)
{
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    int fd = open("by-the-child", O_WRONLY | O_CREAT | O_APPEND, 0644);
    dprintf(fd, "round %d %lx\n", round, churn(round, 1000));
    if (round)
      raise(SIGUSR1);
    _exit(17);
  }
  report(child);
}

static void
talk_inside(int round)
{
  int back[2];
  (void)!pipe(back);
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    close(back[0]);
    dprintf(back[1], "the child of round %d says hello", round);
    dprintf(1, "and writes itself\n");
    _exit(0);
  }
  close(back[1]);
  char text[64] = {0};
  (void)!read(back[0], text, sizeof text - 1);
  close(back[0]);
  report(child);
  printf("%s\n", text);
}

static void
popen_inside(int round)
{
  char line[100] = {0};
  FILE *from = popen("echo from a shell | tr a-z A-Z; exit 3", "r");
  fgets(line, sizeof line, from);
  int status = pclose(from);
  printf("%s%d\n", line, WEXITSTATUS(status));
  fflush(stdout);
  FILE *to = popen("cat > from-popen", "w");
  fprintf(to, "round %d\n", round);
  printf("%d\n", pclose(to));
}

static void
system_inside(int round)
{
  fflush(stdout);
  int status = system("ls /etc/passwd; test -d .; exit 5");
  printf("system %d\n", WEXITSTATUS(status));
}

static void
spawn_inside(int round)
{
  pid_t child;
  char *words[] = {"sh", "-c", "echo spawned; kill -TERM $$", NULL};
  fflush(stdout);
  printf("spawn %d\n", posix_spawnp(&child, "sh", NULL, NULL, words, environ));
  report(child);
}

static void
vfork_inside(int round)
{
  fflush(stdout);
  pid_t child = vfork();
  if (child == 0) {
    execl("/bin/false", "false", (char *)NULL);
    _exit(99);
  }
  report(child);
}

static void
exec_inside(int round)
{
  printf("before exec\n");
  fflush(stdout);
  execl("/bin/sh", "sh", "-c", "echo \"I am another program now: $0 $1\"; echo x > by-exec; exit 6", "zero",
        "one", (char *)NULL);
  printf("exec failed\n");
}

/* A child of before, waited for inside. */
static void
elder_before(void)
{
  (void)!pipe(toward);
  fflush(stdout);
  elder = fork();
  if (elder == 0) {
    char byte;
    close(toward[1]);
    (void)!read(toward[0], &byte, 1);
    _exit(byte);
  }
  close(toward[0]);
}

static void
elder_inside(int round)
{
  if (round)
    return;
  (void)!write(toward[1], "*", 1);
  report(elder);
}

/* A child that outlives the block. */
static void
outlive_inside(int round)
{
  if (round)
    return;
  (void)!pipe(toward);
  fflush(stdout);
  elder = fork();
  if (elder == 0) {
    char byte;
    close(toward[1]);
    (void)!read(toward[0], &byte, 1);
    dprintf(1, "the child has %c\n", byte);
    _exit(4);
  }
  close(toward[0]);
}

static void
outlive_after(void)
{
  (void)!write(toward[1], "B", 1);
  report(elder);
}

static volatile sig_atomic_t deaths;

static void
on_death(int number)
{
  deaths++;
}

static void
deaths_before(void)
{
  struct sigaction action = {.sa_handler = on_death, .sa_flags = SA_RESTART};
  sigaction(SIGCHLD, &action, NULL);
}

static void
deaths_inside(int round)
{
  fflush(stdout);
  pid_t child = fork();
  if (child == 0)
    _exit(1);
  report(child);
  check("SIGCHLD", deaths == round + 1);
}

static void
self_before(void)
{
  pid = getpid();
  parent = getppid();
  group = getpgid(0);
  session = getsid(0);
  gethostname(host, sizeof host);
  (void)!getcwd(directory, sizeof directory);
  prctl(PR_SET_NAME, "renamed");
}

static void
self_inside(int round)
{
  char name[256] = {0}, where[4096] = {0};
  struct utsname system_name;
  check("pid", getpid() == pid);
  check("parent", getppid() == parent);
  check("group", getpgid(0) == group);
  check("session", getsid(0) == session);
  gethostname(name, sizeof name);
  check("host name", strcmp(name, host) == 0);
  check("directory", getcwd(where, sizeof where) && strcmp(where, directory) == 0);
  check("user", getuid() == geteuid() && getgid() == getegid());
  uname(&system_name);
  printf("%s, %d\n", system_name.sysname, (int)getuid());
  prctl(PR_GET_NAME, name);
  printf("comm %s\n", name);
  ssize_t length = readlink("/proc/self/exe", where, sizeof where - 1);
  where[length > 0 ? length : 0] = 0;
  printf("exe %s\n", strrchr(where, '/') ? strrchr(where, '/') : where);
  if (round == 0)
    prctl(PR_SET_NAME, "inside");
}

static void
self_after(void)
{
  char name[32] = {0};
  prctl(PR_GET_NAME, name);
  printf("comm %s\n", name);
}

static void
limits_before(void)
{
  struct rlimit limit = {200, 300};
  setrlimit(RLIMIT_NOFILE, &limit);
}

static void
limits_inside(int round)
{
  struct rlimit limit = {0};
  getrlimit(RLIMIT_NOFILE, &limit);
  printf("files %lu %lu\n", (unsigned long)limit.rlim_cur, (unsigned long)limit.rlim_max);
  limit.rlim_cur = 100 + round;
  setrlimit(RLIMIT_NOFILE, &limit);
  int last = -1, count = 0;
  for (int fd; (fd = dup(0)) >= 0; last = fd)
    count++;
  printf("highest %d, %s\n", last, strerror(errno));
  for (int fd = last; count--; fd--)
    close(fd);
  printf("nice %d\n", getpriority(PRIO_PROCESS, 0));
}

static void
limits_after(void)
{
  struct rlimit limit = {0};
  getrlimit(RLIMIT_NOFILE, &limit);
  printf("files %lu %lu\n", (unsigned long)limit.rlim_cur, (unsigned long)limit.rlim_max);
}

static void
environment_before(void)
{
  setenv("SET_BEFORE", "device", 1);
  for (char **each = environ; *each; each++)
    if (strncmp(*each, "TRIAL=", 6) != 0)
      printf("%s\n", *each);
}

static void
environment_inside(int round)
{
  printf("%s %s\n", getenv("SET_BEFORE"), getenv("PATH"));
  setenv("SET_INSIDE", round ? "twice" : "once", 1);
  unsetenv("SET_BEFORE");
  setenv("SET_BEFORE", "changed", 1);
  printf("tunables %s, bind %s\n", getenv("GLIBC_TUNABLES") ? "seen" : "unseen",
         getenv("LD_BIND_NOW") ? "seen" : "unseen");
}

static void
environment_after(void)
{
  printf("%s %s\n", getenv("SET_BEFORE"), getenv("SET_INSIDE"));
  fflush(stdout);
  (void)!system("env | grep -v -e TRIAL= -e ^_= | sort");
}

/* ---- a handler for the ends of children that lets calls be interrupted ---- */

static volatile sig_atomic_t ends;

static void
count_end(int signal)
{
  (void)signal;
  ends++;
}

static void
crowd_before(void)
{
  struct sigaction action = {.sa_handler = count_end}; /* no SA_RESTART */
  sigaction(SIGCHLD, &action, NULL);
  (void)!pipe(toward);
  int fd = open("crowd", O_WRONLY | O_CREAT, 0644);
  (void)!write(fd, "words of the crowd\n", 19);
  close(fd);
}

/* None of these calls waits for anything: a signal is no reason for them to fail. */
static int
crowd(int children)
{
  char text[32], path[4096];
  for (int i = 0; i < children; i++) {
    pid_t child = fork();
    if (child == 0)
      _exit(0);
    int fd = open("crowd", O_RDONLY);
    if (child < 0 || fd < 0 || read(fd, text, sizeof text) != 19 || access("crowd", R_OK) < 0 ||
        !getcwd(path, sizeof path) || fcntl(fd, F_GETFL) < 0 || close(fd) < 0)
      return errno;
    while (waitpid(child, NULL, 0) < 0)
      if (errno != EINTR)
        return errno;
  }
  return 0;
}

static void
crowd_inside(int round)
{
  int status = 0;
  fflush(stdout);
  printf("round %d: %s\n", round, strerror(crowd(20)));
  fflush(stdout);
  pid_t child = fork();
  if (child == 0)
    _exit(crowd(20));
  while (waitpid(child, &status, 0) < 0)
    ;
  printf("in a child: %s\n", strerror(WEXITSTATUS(status)));
}

/* This one waits, on the device, for what never comes. */
static void
woken_inside(int round)
{
  char byte;
  int before = ends;
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    usleep(1000000); /* not before the read below has begun */
    _exit(0);
  }
  ssize_t got = read(toward[0], &byte, 1);
  printf("round %d: %zd %s, %d\n", round, got, strerror(errno), ends - before);
  report(child);
}

const Case cases[] = {{"fork", NULL, fork_inside, NULL, NULL},
                      {"talk", NULL, talk_inside, NULL, NULL},
                      {"popen", NULL, popen_inside, NULL, NULL},
                      {"system", NULL, system_inside, NULL, NULL},
                      {"spawn", NULL, spawn_inside, NULL, NULL},
                      {"vfork", NULL, vfork_inside, NULL, NULL},
                      {"exec", NULL, exec_inside, NULL, NULL},
                      {"elder", elder_before, elder_inside, NULL, NULL},
                      {"outlive", NULL, outlive_inside, outlive_after, NULL},
                      {"deaths", deaths_before, deaths_inside, NULL, NULL},
                      {"self", self_before, self_inside, self_after, NULL},
                      {"limits", limits_before, limits_inside, limits_after, NULL},
                      {"crowd", crowd_before, crowd_inside, NULL, NULL},
                      {"woken", crowd_before, woken_inside, NULL, NULL},
                      {"environment", environment_before, environment_inside, environment_after, NULL},
                      {NULL}};
