/* What `ethtool -K` does. */
static void offload(const char *interface, unsigned int command, int on)
{
	struct ethtool_value value = { .cmd = command, .data = on };
	struct ifreq request = { .ifr_data = (void *)&value };
	int any = must(socket(AF_INET, SOCK_DGRAM, 0), "socket");

	strcpy(request.ifr_name, interface);
	must(ioctl(any, SIOCETHTOOL, &request), "ethtool");
	close(any);
}
