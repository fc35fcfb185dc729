// SPDX-License-Identifier: Apache-2.0
#include "message.h"

#include "clock.h"

#include <netinet/in.h>
#include <string.h>
#include <time.h>

/* Takes struct timespec as known. */
#include <linux/errqueue.h>

const void *probe_peer(const struct msghdr *header, int family)
{
	const struct sockaddr_in6 *v6 = header->msg_name;
	const struct sockaddr_in *v4 = header->msg_name;

	if (family == 4)
		return header->msg_namelen >= sizeof(*v4) && v4->sin_family == AF_INET ? &v4->sin_addr : NULL;
	return header->msg_namelen >= sizeof(*v6) && v6->sin6_family == AF_INET6 ? &v6->sin6_addr : NULL;
}

int64_t probe_stamp_ns(struct cmsghdr *control)
{
	struct timespec stamp;

	if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_TIMESTAMPING)
		return 0;
	memcpy(&stamp, CMSG_DATA(control), sizeof(stamp));
	return (int64_t)stamp.tv_sec * (int64_t)NS_PER_SECOND + stamp.tv_nsec;
}

uint32_t probe_hop_limit(struct cmsghdr *control)
{
	int value = 0;

	if ((control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_TTL) ||
	    (control->cmsg_level == IPPROTO_IPV6 && control->cmsg_type == IPV6_HOPLIMIT))
		memcpy(&value, CMSG_DATA(control), sizeof(value));
	return (uint32_t)value;
}

const struct sock_extended_err *probe_error(struct cmsghdr *control)
{
	if ((control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_RECVERR) ||
	    (control->cmsg_level == IPPROTO_IPV6 && control->cmsg_type == IPV6_RECVERR))
		return (const void *)CMSG_DATA(control);
	return NULL;
}

int probe_offender(const struct sock_extended_err *error, uint8_t address[16])
{
	const struct sockaddr_in6 *v6 = (const void *)SO_EE_OFFENDER(error);
	const struct sockaddr_in *v4 = (const void *)SO_EE_OFFENDER(error);

	if (v4->sin_family == AF_INET) {
		memcpy(address, &v4->sin_addr, 4);
		return 4;
	}
	if (v6->sin6_family == AF_INET6) {
		memcpy(address, &v6->sin6_addr, 16);
		return 6;
	}
	return 0;
}
