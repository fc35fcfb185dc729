// SPDX-License-Identifier: Apache-2.0
/*
 * Preloaded into a process, it shows it a wall clock that a test steps, and nobody else: clock_gettime and
 * the kernel's packet stamps. The file named by CLOCK_STEP holds three int64: ns before the step, ns from it
 * on, and when it is, CLOCK_MONOTONIC.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

static const volatile int64_t *step;

static int64_t to_ns(const struct timespec *time)
{
	return time->tv_sec * 1000000000ll + time->tv_nsec;
}

static int real_gettime(clockid_t clock, struct timespec *time)
{
	static int (*next)(clockid_t, struct timespec *);

	if (!next)
		next = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
	return next(clock, time);
}

static void shift(struct timespec *time, int64_t mono_ns)
{
	int64_t ns = to_ns(time) + (step ? step[mono_ns < step[2] ? 0 : 1] : 0);

	time->tv_sec = ns / 1000000000ll;
	time->tv_nsec = ns % 1000000000ll;
}

__attribute__((constructor)) static void begin(void)
{
	const char *file = getenv("CLOCK_STEP");
	int fd = file ? open(file, O_RDONLY | O_CLOEXEC) : -1;
	void *shared = fd < 0 ? MAP_FAILED : mmap(NULL, 24, PROT_READ, MAP_SHARED, fd, 0);

	step = shared == MAP_FAILED ? NULL : shared;
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
	struct timespec mono;
	int result = real_gettime(clock, time);

	if (result == 0 && clock == CLOCK_REALTIME && real_gettime(CLOCK_MONOTONIC, &mono) == 0)
		shift(time, to_ns(&mono));
	return result;
}

int gettimeofday(struct timeval *time, void *zone)
{
	struct timespec now;
	int result = clock_gettime(CLOCK_REALTIME, &now);

	(void)zone;
	time->tv_sec = now.tv_sec;
	time->tv_usec = now.tv_nsec / 1000;
	return result;
}

int recvmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags, struct timespec *timeout)
{
	static int (*next)(int, struct mmsghdr *, unsigned int, int, struct timespec *);
	struct timespec real, mono, stamp;
	int got;

	if (!next)
		next = (int (*)(int, struct mmsghdr *, unsigned int, int, struct timespec *))dlsym(
			RTLD_NEXT, "recvmmsg");
	got = next(fd, messages, count, flags, timeout);
	real_gettime(CLOCK_REALTIME, &real);
	real_gettime(CLOCK_MONOTONIC, &mono);
	for (int i = 0; i < got; i++) {
		struct msghdr *header = &messages[i].msg_hdr;

		for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
			if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPING)
				continue;
			memcpy(&stamp, CMSG_DATA(c), sizeof(stamp));
			if (stamp.tv_sec)
				shift(&stamp, to_ns(&stamp) - to_ns(&real) + to_ns(&mono));
			memcpy(CMSG_DATA(c), &stamp, sizeof(stamp));
		}
	}
	return got;
}
