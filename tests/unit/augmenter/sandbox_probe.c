/* What a program inside the sandbox can see and do, one fact a line. Run by the tests as the mirror's
 * program. */
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/kexec.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

volatile unsigned long probe_secret = 0x5ec2e7;

static void
print_clock(const char *name, clockid_t clock)
{
  struct timespec now;
  clock_gettime(clock, &now);
  printf("%s=%lld\n", name, (long long)now.tv_sec * 1000000000 + now.tv_nsec);
}

static void
print_status_lines(void)
{
  static const char *const names[] = {
      "CapEff:", "CapPrm:", "CapBnd:", "CapAmb:", "NoNewPrivs:", "SigIgn:", "SigBlk:"};
  char line[256];
  FILE *file = fopen("/proc/self/status", "re");
  while (file && fgets(line, sizeof line, file))
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
      if (strncmp(line, names[i], strlen(names[i])) == 0)
        printf("%.*s=%s", (int)strlen(names[i]) - 1, names[i], line + strlen(names[i]) + 1);
  if (file)
    fclose(file);
}

static void
print_descriptors(void)
{
  printf("fds=");
  for (int fd = 0; fd < 4096; fd++)
    if (fcntl(fd, F_GETFD) >= 0)
      printf("%d,", fd);
  printf("\n");
}

static void
print_interfaces(void)
{
  struct ifaddrs *all = NULL;
  printf("interfaces=");
  getifaddrs(&all);
  for (struct ifaddrs *one = all; one; one = one->ifa_next)
    if (one->ifa_addr && one->ifa_addr->sa_family == AF_PACKET)
      printf("%s:%s,", one->ifa_name, one->ifa_flags & IFF_UP ? "up" : "down");
  printf("\n");
  freeifaddrs(all);
}

static int
facts(void)
{
  char text[4096];
  struct rlimit files;
  mode_t mask = umask(0);
  umask(mask);
  gethostname(text, sizeof text);
  printf("pid=%d\nppid=%d\nuid=%d\ngid=%d\nhostname=%s\n", getpid(), getppid(), (int)getuid(), (int)getgid(),
         text);
  printf("cwd=%s\numask=%03o\n", getcwd(text, sizeof text), (unsigned)mask);
  getrlimit(RLIMIT_NOFILE, &files);
  printf("nofile=%llu\npersonality=%x\n", (unsigned long long)files.rlim_cur, personality(0xffffffff));
  print_clock("monotonic", CLOCK_MONOTONIC);
  print_clock("boottime", CLOCK_BOOTTIME);
  print_status_lines();
  print_descriptors();
  print_interfaces();
  int tty = open("/dev/tty", O_RDWR | O_CLOEXEC);
  printf("tty=%s\n", tty < 0 ? strerror(errno) : "open");
  return 0;
}

static void
report(const char *what, long result)
{
  printf("%s=%s\n", what, result < 0 ? strerrorname_np(errno) : "ok");
}

/* Each of these would be a way out. */
static int
escapes(void)
{
  report("mount", mount("none", "/tmp", "tmpfs", 0, NULL));
  report("umount", umount2("/proc", MNT_DETACH));
  report("remount", mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL));
  report("unshare-mount", unshare(CLONE_NEWNS));
  report("sethostname", sethostname("x", 1));
  report("mknod", mknod("/tmp/doppel-probe-null", S_IFCHR | 0666, 0x103));
  report("core-pattern", open("/proc/sys/kernel/core_pattern", O_WRONLY | O_CLOEXEC));
  report("sysrq", open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC));
  report("kcore",
         read(open("/proc/kcore", O_RDONLY | O_CLOEXEC), (char[16]){0}, 16) > 0 ? 0 : (errno = EACCES, -1));
  report("ptrace-init", ptrace(PTRACE_SEIZE, 1, NULL, NULL));
  report("init-mem", open("/proc/1/mem", O_RDONLY | O_CLOEXEC));
  report("init-fds", open("/proc/1/fd/0", O_RDWR | O_CLOEXEC));
  report("init-environ", read(open("/proc/1/environ", O_RDONLY | O_CLOEXEC), (char[16]){0}, 16));
  report("init-root", open("/proc/1/root", O_RDONLY | O_CLOEXEC));
  report("kill-init", kill(1, SIGKILL));
  report("module", syscall(SYS_init_module, "", 0, ""));
  report("kexec", syscall(SYS_kexec_load, 0, 0, NULL, 0));
  report("clock", clock_settime(CLOCK_REALTIME, &(struct timespec){1, 1}));
  report("sysfs", open("/sys/kernel/uevent_helper", O_WRONLY | O_CLOEXEC));
  report("dev", open("/dev/new", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  return 0;
}

static int
list_processes(void)
{
  for (int pid = 1; pid < 100000; pid++) {
    char path[32];
    snprintf(path, sizeof path, "/proc/%d", pid);
    if (access(path, F_OK) == 0)
      printf("%d,", pid);
  }
  printf("\n");
  return 0;
}

static int
write_file(const char *path, const char *text)
{
  int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
  if (fd < 0 || write(fd, text, strlen(text)) < 0) {
    printf("%s\n", strerrorname_np(errno));
    return 1;
  }
  return close(fd) == 0 ? 0 : 1;
}

static int
fill_file(const char *path)
{
  static char block[4096];
  int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
  while (fd >= 0 && write(fd, block, sizeof block) > 0)
    ;
  printf("%s\n", strerrorname_np(errno));
  return 0;
}

/* Says where its secret is, then waits to be looked at. */
_Noreturn static int
wait_for_peek(void)
{
  printf("%p\n", (void *)&probe_secret);
  fflush(stdout);
  for (;;)
    pause();
}

/* Leaves a daemon in the sandbox, then waits. */
_Noreturn static int
fork_forever(void)
{
  for (int i = 0; i < 3; i++)
    if (fork() == 0)
      for (;;)
        pause();
  printf("ready\n");
  fflush(stdout);
  for (;;)
    pause();
}

static int
fork_until(int most)
{
  for (int i = 0; i < most; i++) {
    pid_t pid = fork();
    if (pid == 0)
      for (;;)
        pause();
    if (pid < 0) {
      printf("%s after %d\n", strerrorname_np(errno), i);
      fflush(stdout);
      kill(-1, SIGKILL);
      return 0;
    }
  }
  printf("no limit\n");
  return 0;
}

static int
fork_pid(void)
{
  pid_t pid = fork();
  if (pid == 0)
    _exit(0);
  waitpid(pid, NULL, 0);
  printf("%d\n", pid);
  return 0;
}

static int
read_file(const char *path)
{
  char text[4096];
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text);
  if (got < 0)
    printf("%s\n", strerrorname_np(errno));
  else
    fwrite(text, 1, (size_t)got, stdout);
  return 0;
}

static int
nest_directories(const char *base, int depth)
{
  if (mkdir(base, 0755) != 0 || chdir(base) != 0)
    return 1;
  for (int i = 0; i < depth; i++)
    if (mkdir("d", 0755) != 0 || chdir("d") != 0)
      return 1;
  return 0;
}

int
main(int argc, char **argv)
{
  const char *verb = argc > 1 ? argv[1] : "", *first = argc > 2 ? argv[2] : "",
             *second = argc > 3 ? argv[3] : "";
  int status = 2;
  if (strcmp(verb, "facts") == 0)
    status = facts();
  else if (strcmp(verb, "escapes") == 0)
    status = escapes();
  else if (strcmp(verb, "processes") == 0)
    status = list_processes();
  else if (strcmp(verb, "write") == 0)
    status = write_file(first, second);
  else if (strcmp(verb, "read") == 0)
    status = read_file(first);
  else if (strcmp(verb, "remove") == 0)
    status = remove(first) == 0 ? 0 : 1;
  else if (strcmp(verb, "fill") == 0)
    status = fill_file(first);
  else if (strcmp(verb, "peek") == 0)
    status = wait_for_peek();
  else if (strcmp(verb, "forks") == 0)
    status = fork_forever();
  else if (strcmp(verb, "fork-pid") == 0)
    status = fork_pid();
  else if (strcmp(verb, "forks-until") == 0)
    status = fork_until(atoi(first));
  else if (strcmp(verb, "nest") == 0)
    status = nest_directories(first, atoi(second));
  else if (strcmp(verb, "name") == 0)
    status = printf("%s\n", argv[0]) < 0;
  fflush(stdout);
  _exit(status); /* no leak check at exit: it traces, which is refused here */
}
