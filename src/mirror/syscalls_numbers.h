/* Numbers that the build machine's headers may lack: calls younger than they are, by number; calls that only
 * the other architecture has, as none. Source: the kernel's syscall_64.tbl and scripts/syscall.tbl. */
#pragma once

#include <sys/syscall.h>

#define SYSCALL_NO_NUMBER (-1)

#ifndef __NR_epoll_pwait2
#define __NR_epoll_pwait2 441
#endif
#ifndef __NR_mount_setattr
#define __NR_mount_setattr 442
#endif
#ifndef __NR_quotactl_fd
#define __NR_quotactl_fd 443
#endif
#ifndef __NR_memfd_secret
#define __NR_memfd_secret 447
#endif
#ifndef __NR_process_mrelease
#define __NR_process_mrelease 448
#endif
#ifndef __NR_futex_waitv
#define __NR_futex_waitv 449
#endif
#ifndef __NR_set_mempolicy_home_node
#define __NR_set_mempolicy_home_node 450
#endif
#ifndef __NR_cachestat
#define __NR_cachestat 451
#endif
#ifndef __NR_fchmodat2
#define __NR_fchmodat2 452
#endif
#ifndef __NR_map_shadow_stack
#define __NR_map_shadow_stack 453
#endif
#ifndef __NR_futex_wake
#define __NR_futex_wake 454
#endif
#ifndef __NR_futex_wait
#define __NR_futex_wait 455
#endif
#ifndef __NR_futex_requeue
#define __NR_futex_requeue 456
#endif
#ifndef __NR_statmount
#define __NR_statmount 457
#endif
#ifndef __NR_listmount
#define __NR_listmount 458
#endif
#ifndef __NR_lsm_get_self_attr
#define __NR_lsm_get_self_attr 459
#endif
#ifndef __NR_lsm_set_self_attr
#define __NR_lsm_set_self_attr 460
#endif
#ifndef __NR_lsm_list_modules
#define __NR_lsm_list_modules 461
#endif
#ifndef __NR_mseal
#define __NR_mseal 462
#endif
#ifndef __NR_setxattrat
#define __NR_setxattrat 463
#endif
#ifndef __NR_getxattrat
#define __NR_getxattrat 464
#endif
#ifndef __NR_listxattrat
#define __NR_listxattrat 465
#endif
#ifndef __NR_removexattrat
#define __NR_removexattrat 466
#endif
#ifndef __NR_open_tree_attr
#define __NR_open_tree_attr 467
#endif
#ifndef __NR_file_getattr
#define __NR_file_getattr 468
#endif
#ifndef __NR_file_setattr
#define __NR_file_setattr 469
#endif

#if defined(__x86_64__)
#ifndef __NR_uretprobe
#define __NR_uretprobe 335
#endif
#ifndef __NR_uprobe
#define __NR_uprobe 336
#endif
#endif

#ifndef __NR__sysctl
#define __NR__sysctl SYSCALL_NO_NUMBER
#endif
#ifndef __NR_access
#define __NR_access SYSCALL_NO_NUMBER
#endif
#ifndef __NR_afs_syscall
#define __NR_afs_syscall SYSCALL_NO_NUMBER
#endif
#ifndef __NR_alarm
#define __NR_alarm SYSCALL_NO_NUMBER
#endif
#ifndef __NR_arch_prctl
#define __NR_arch_prctl SYSCALL_NO_NUMBER
#endif
#ifndef __NR_chmod
#define __NR_chmod SYSCALL_NO_NUMBER
#endif
#ifndef __NR_chown
#define __NR_chown SYSCALL_NO_NUMBER
#endif
#ifndef __NR_creat
#define __NR_creat SYSCALL_NO_NUMBER
#endif
#ifndef __NR_create_module
#define __NR_create_module SYSCALL_NO_NUMBER
#endif
#ifndef __NR_dup2
#define __NR_dup2 SYSCALL_NO_NUMBER
#endif
#ifndef __NR_epoll_create
#define __NR_epoll_create SYSCALL_NO_NUMBER
#endif
#ifndef __NR_epoll_ctl_old
#define __NR_epoll_ctl_old SYSCALL_NO_NUMBER
#endif
#ifndef __NR_epoll_wait
#define __NR_epoll_wait SYSCALL_NO_NUMBER
#endif
#ifndef __NR_epoll_wait_old
#define __NR_epoll_wait_old SYSCALL_NO_NUMBER
#endif
#ifndef __NR_eventfd
#define __NR_eventfd SYSCALL_NO_NUMBER
#endif
#ifndef __NR_fork
#define __NR_fork SYSCALL_NO_NUMBER
#endif
#ifndef __NR_futimesat
#define __NR_futimesat SYSCALL_NO_NUMBER
#endif
#ifndef __NR_get_kernel_syms
#define __NR_get_kernel_syms SYSCALL_NO_NUMBER
#endif
#ifndef __NR_get_thread_area
#define __NR_get_thread_area SYSCALL_NO_NUMBER
#endif
#ifndef __NR_getdents
#define __NR_getdents SYSCALL_NO_NUMBER
#endif
#ifndef __NR_getpgrp
#define __NR_getpgrp SYSCALL_NO_NUMBER
#endif
#ifndef __NR_getpmsg
#define __NR_getpmsg SYSCALL_NO_NUMBER
#endif
#ifndef __NR_inotify_init
#define __NR_inotify_init SYSCALL_NO_NUMBER
#endif
#ifndef __NR_ioperm
#define __NR_ioperm SYSCALL_NO_NUMBER
#endif
#ifndef __NR_iopl
#define __NR_iopl SYSCALL_NO_NUMBER
#endif
#ifndef __NR_lchown
#define __NR_lchown SYSCALL_NO_NUMBER
#endif
#ifndef __NR_link
#define __NR_link SYSCALL_NO_NUMBER
#endif
#ifndef __NR_lstat
#define __NR_lstat SYSCALL_NO_NUMBER
#endif
#ifndef __NR_mkdir
#define __NR_mkdir SYSCALL_NO_NUMBER
#endif
#ifndef __NR_mknod
#define __NR_mknod SYSCALL_NO_NUMBER
#endif
#ifndef __NR_modify_ldt
#define __NR_modify_ldt SYSCALL_NO_NUMBER
#endif
#ifndef __NR_open
#define __NR_open SYSCALL_NO_NUMBER
#endif
#ifndef __NR_pause
#define __NR_pause SYSCALL_NO_NUMBER
#endif
#ifndef __NR_pipe
#define __NR_pipe SYSCALL_NO_NUMBER
#endif
#ifndef __NR_poll
#define __NR_poll SYSCALL_NO_NUMBER
#endif
#ifndef __NR_putpmsg
#define __NR_putpmsg SYSCALL_NO_NUMBER
#endif
#ifndef __NR_query_module
#define __NR_query_module SYSCALL_NO_NUMBER
#endif
#ifndef __NR_readlink
#define __NR_readlink SYSCALL_NO_NUMBER
#endif
#ifndef __NR_rename
#define __NR_rename SYSCALL_NO_NUMBER
#endif
#ifndef __NR_rmdir
#define __NR_rmdir SYSCALL_NO_NUMBER
#endif
#ifndef __NR_security
#define __NR_security SYSCALL_NO_NUMBER
#endif
#ifndef __NR_select
#define __NR_select SYSCALL_NO_NUMBER
#endif
#ifndef __NR_set_thread_area
#define __NR_set_thread_area SYSCALL_NO_NUMBER
#endif
#ifndef __NR_signalfd
#define __NR_signalfd SYSCALL_NO_NUMBER
#endif
#ifndef __NR_stat
#define __NR_stat SYSCALL_NO_NUMBER
#endif
#ifndef __NR_symlink
#define __NR_symlink SYSCALL_NO_NUMBER
#endif
#ifndef __NR_sysfs
#define __NR_sysfs SYSCALL_NO_NUMBER
#endif
#ifndef __NR_time
#define __NR_time SYSCALL_NO_NUMBER
#endif
#ifndef __NR_tuxcall
#define __NR_tuxcall SYSCALL_NO_NUMBER
#endif
#ifndef __NR_unlink
#define __NR_unlink SYSCALL_NO_NUMBER
#endif
#ifndef __NR_uprobe
#define __NR_uprobe SYSCALL_NO_NUMBER
#endif
#ifndef __NR_uretprobe
#define __NR_uretprobe SYSCALL_NO_NUMBER
#endif
#ifndef __NR_uselib
#define __NR_uselib SYSCALL_NO_NUMBER
#endif
#ifndef __NR_ustat
#define __NR_ustat SYSCALL_NO_NUMBER
#endif
#ifndef __NR_utime
#define __NR_utime SYSCALL_NO_NUMBER
#endif
#ifndef __NR_utimes
#define __NR_utimes SYSCALL_NO_NUMBER
#endif
#ifndef __NR_vfork
#define __NR_vfork SYSCALL_NO_NUMBER
#endif
#ifndef __NR_vserver
#define __NR_vserver SYSCALL_NO_NUMBER
#endif
