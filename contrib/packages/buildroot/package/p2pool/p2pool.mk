################################################################################
#
# p2pool
#
################################################################################

P2POOL_VERSION = 0.2.0
# The checkout that this directory is in. To build a release instead, set
# P2POOL_SITE to its source and add a p2pool.hash.
P2POOL_SITE = $(BR2_EXTERNAL_P2POOL_PATH)/../../..
P2POOL_SITE_METHOD = local
P2POOL_OVERRIDE_SRCDIR_RSYNC_EXCLUSIONS = --exclude target
P2POOL_LICENSE = MIT
P2POOL_LICENSE_FILES = LICENSE
P2POOL_CARGO_BUILD_OPTS = -p p2pool

# Buildroot vendors the dependencies of what it downloads, but not of a
# directory.
define P2POOL_FETCH_DEPENDENCIES
	cd $(@D) && \
	$(TARGET_MAKE_ENV) $(PKG_CARGO_ENV) cargo fetch --locked
endef
P2POOL_PRE_BUILD_HOOKS += P2POOL_FETCH_DEPENDENCIES

# cargo-package would install the programs of all workspace members.
define P2POOL_INSTALL_TARGET_CMDS
	$(INSTALL) -D -m 0755 $(@D)/target/$(RUSTC_TARGET_NAME)/release/p2pool \
		$(TARGET_DIR)/usr/bin/p2pool
	$(INSTALL) -D -m 0640 $(@D)/contrib/p2pool.toml \
		$(TARGET_DIR)/etc/p2pool/p2pool.toml
	$(SED) 's,^#data-dir = .*,data-dir = "/var/lib/p2pool",' \
		$(TARGET_DIR)/etc/p2pool/p2pool.toml
endef

define P2POOL_PERMISSIONS
	/etc/p2pool/p2pool.toml f 0640 root p2pool - - - - -
	/var/lib/p2pool d 0700 p2pool p2pool - - - - -
endef

define P2POOL_USERS
	p2pool -1 p2pool -1 * /var/lib/p2pool - - p2pool
endef

define P2POOL_INSTALL_INIT_SYSV
	$(INSTALL) -D -m 0755 $(P2POOL_PKGDIR)/S95p2pool \
		$(TARGET_DIR)/etc/init.d/S95p2pool
endef

define P2POOL_INSTALL_INIT_SYSTEMD
	$(INSTALL) -D -m 0644 $(@D)/contrib/systemd/p2pool.service \
		$(TARGET_DIR)/usr/lib/systemd/system/p2pool.service
	$(SED) 's,^ExecStart=/usr/local/bin/,ExecStart=/usr/bin/,' \
		$(TARGET_DIR)/usr/lib/systemd/system/p2pool.service
endef

$(eval $(cargo-package))
