// SPDX-License-Identifier: Apache-2.0
/*
 * Holds a flow label for itself, for tests: as long as one socket of a namespace does, no other may choose a
 * label freely (IPV6_FL_S_EXCL, uapi/linux/in6.h). The kernel keeps it for six seconds after this ends.
 */
#include <arpa/inet.h>
#include <linux/in6.h>
#include <stdio.h>
#include <sys/socket.h>

int main(void)
{
	struct in6_flowlabel_req wanted = {
		.flr_label = htonl(0xabcde),
		.flr_action = IPV6_FL_A_GET,
		.flr_share = IPV6_FL_S_EXCL,
		.flr_flags = IPV6_FL_F_CREATE | IPV6_FL_F_EXCL,
	};
	int fd = socket(AF_INET6, SOCK_DGRAM, 0);

	inet_pton(AF_INET6, "fd01::66", &wanted.flr_dst);
	if (fd < 0 || setsockopt(fd, IPPROTO_IPV6, IPV6_FLOWLABEL_MGR, &wanted, sizeof(wanted)) < 0) {
		perror("flow label");
		return 1;
	}
	return 0;
}
