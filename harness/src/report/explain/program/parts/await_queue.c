/* Waits until the error queue has told all of MSG_ZEROCOPY, for 5 s at most. */
static void await_queue(void)
{
	union {
		struct cmsghdr header;
		char room[512];
	} control;
	struct sock_extended_err *told = (void *)CMSG_DATA(&control.header);

	for (int ms = 0; ms < 5000; ms++) {
		struct msghdr message = { .msg_control = &control, .msg_controllen = sizeof(control) };

		if (recvmsg(sender, &message, MSG_ERRQUEUE | MSG_DONTWAIT) >= 0) {
			/* A time, of SO_TIMESTAMPING. */
			if (control.header.cmsg_level == SOL_SOCKET)
				continue;
			for (size_t call = told->ee_info; call <= told->ee_data; call++)
				completed(&lent, call);
		} else if (lent.told >= lent.made) {
			return;
		} else {
			usleep(1000);
		}
	}
}
