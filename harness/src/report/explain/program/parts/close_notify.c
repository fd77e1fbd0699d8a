/* The end of a TLS stream; it also closes a record that is still open. */
static void close_notify(void)
{
	char alert[] = { 1, 0 };	/* a warning, close_notify */
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(1)];
	} control = { .header = { CMSG_LEN(1), SOL_TLS, TLS_SET_RECORD_TYPE } };
	struct iovec part = { alert, sizeof(alert) };
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control.room),
	};

	*CMSG_DATA(&control.header) = 21;	/* an alert */
	must(sendmsg(sender, &message, 0), "close_notify");
}
