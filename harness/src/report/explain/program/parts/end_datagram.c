/* All that was sent since the last one is one datagram. */
static void end_datagram(void)
{
	size_t from = datagrams ? end_of[datagrams - 1] : 0;

	if (sent_bytes > from)
		end_of[datagrams++] = sent_bytes;
}
