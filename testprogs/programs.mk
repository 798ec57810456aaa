# The rows: what each scenario is made of. Used by Makefile, which sets SET, CPU, LIBC, CC and CXX.
#
#   $(call lib,SCENARIO,OUTPUT,SOURCES,FLAGS,LIBRARIES)   a shared library
#   $(call exe,SCENARIO,OUTPUT,SOURCES,FLAGS,LIBRARIES)   a program
#   $(call host,SCENARIO,FLAGS)                           common/host.c, as SCENARIO/host
# LIBRARIES are names of other outputs of the scenario. FLAGS come last, so they win.

OUT := build/$(SET)
WARNINGS := -Wall -Wextra
CFLAGS := -std=gnu11 -O0 -g $(WARNINGS)
CXXFLAGS := -std=gnu++17 -O0 -g $(WARNINGS)
# Distributions differ in what their compilers do unasked (Debian and Ubuntu: -z now, -fcf-protection);
# these say what is meant, and a row may say otherwise.
PLAIN_x86_64 := -fcf-protection=none
PLAIN_aarch64 := -mbranch-protection=none
# -fno-builtin: abs(-3) is to be a call.
PLAIN := $(PLAIN_$(CPU)) -fno-builtin -fno-stack-protector -U_FORTIFY_SOURCE
LINK := -Wl,-z,lazy -Wl,-z,relro -Wl,-z,noexecstack -Wl,--hash-style=gnu
# Not for static programs: glibc's static-pie start-up fails an assertion when there is a RUNPATH.
ORIGIN := -Wl,-rpath,'$$ORIGIN'
LIBS := -ldl -pthread

.DELETE_ON_ERROR:
.PHONY: all
ifneq ($(words $(SET) $(CPU) $(LIBC) $(CC)),4)
$(error run `make` in testprogs, not this file)
endif

# compiler,scenario,output,sources,flags,libraries
define build
ALL += $(OUT)/$2/$3
ALL_$2 += $(OUT)/$2/$3
$(OUT)/$2/$3: $(foreach s,$4,$(if $(findstring /,$s),$s,$2/$s)) $(addprefix $(OUT)/$2/,$6) \
		$(wildcard common/*.h $2/*.h $2/*.hpp $2/*.map *.mk)
	@mkdir -p $$(@D)
	$1 $(PLAIN) $$(LINK) $(if $(findstring -static,$5)$(findstring -rpath,$5),,$$(ORIGIN)) $5 -o $$@ $(foreach s,$4,$(if $(findstring /,$s),$s,$2/$s)) \
		$(if $6,-L$(OUT)/$2 $(addprefix -l:,$6)) $(LIBS)
endef
lib = $(eval $(call build,$(CC) $(CFLAGS) -fPIC -shared -Wl$(comma)-soname$(comma)$(notdir $2),$1,$2,$3,$4,$5))
# gcc takes the last of -pie and -no-pie, but -static-pie must stand alone.
exe = $(eval $(call build,$(CC) $(CFLAGS) -fPIE $(if $(filter -static-pie,$4),,-pie),$1,$2,$3,$4,$5))
host = $(call exe,$1,host,common/host.c,$2)
cxxlib = $(eval $(call build,$(CXX) $(CXXFLAGS) -fPIC -shared -Wl$(comma)-soname$(comma)$(notdir $2),$1,$2,$3,$4,$5))
cxxexe = $(eval $(call build,$(CXX) $(CXXFLAGS) -fPIE -pie,$1,$2,$3,$4,$5))
comma := ,
glibc = $(filter glibc,$(LIBC))
all:

# demo: a plugin host as people write them, and its bug
ifneq ($(glibc),)
$(call exe,demo,textpipe,textpipe.c,-Og -rdynamic)
$(call lib,demo,plugins/libskip.so,skip.c,-Og)
$(call lib,demo,plugins/libupper.so,upper.c,-Og)
$(call lib,demo,plugins/libwords.so,words.c,-Og)
endif

# dlopens: every way to dlopen; dlopens is about lazy slots
$(call exe,dlopens,host,host.c)
$(call lib,dlopens,libdep.so,dep.c)
$(call lib,dlopens,liblazy.so,user.c,,libdep.so)
$(call lib,dlopens,libnow.so,user.c,,libdep.so)
$(call lib,dlopens,libglobal.so,twin.c,-DOWN=1 -DCALLER=who)
$(call lib,dlopens,liblate.so,twin.c,-DOWN=2 -DCALLER=late_calls_twin)
$(call lib,dlopens,libdeep.so,twin.c,-DOWN=3 -DCALLER=deep_calls_twin)
$(call lib,dlopens,libnodelete.so,alone.c)
$(call lib,dlopens,libgone.so,alone.c)

# namespaces: dlmopen (glibc alone has it)
ifneq ($(glibc),)
$(call exe,namespaces,host,host.c)
$(call lib,namespaces,libns.so,ns.c)
endif

# ifunc: musl's linker has none
ifneq ($(glibc),)
$(call lib,ifunc,libifunc.so,ifunc.c)
$(call lib,ifunc,libuser.so,user.c,,libifunc.so)
$(call exe,ifunc,host,host.c,,libuser.so libifunc.so)
endif

# tls: one library for each model; TLSDESC is arm64's default and an option on x86-64
TRADITIONAL_x86_64 := -mtls-dialect=gnu
TRADITIONAL_aarch64 := -mtls-dialect=trad
DESCRIPTORS_x86_64 := -mtls-dialect=gnu2
DESCRIPTORS_aarch64 := -mtls-dialect=desc
$(call lib,tls,libtlsgd.so,var.c,-DMODEL=gd -DSTART=100 -ftls-model=global-dynamic $(TRADITIONAL_$(CPU)))
$(call lib,tls,libtlsie.so,var.c,-DMODEL=ie -DSTART=200 -ftls-model=initial-exec)
$(call lib,tls,libtlsdesc.so,var.c,-DMODEL=desc -DSTART=300 -ftls-model=global-dynamic $(DESCRIPTORS_$(CPU)))
$(call lib,tls,libtlsld.so,local.c,-ftls-model=local-dynamic $(TRADITIONAL_$(CPU)))
$(call exe,tls,host,host.c,,libtlsie.so)

# tlsids: TLS that comes and goes, by __tls_get_addr
$(call exe,tlsids,host,host.c)
$(call lib,tlsids,libone.so,library.c,-DSIZE=48 -ftls-model=global-dynamic $(TRADITIONAL_$(CPU)))
$(call lib,tlsids,libtwo.so,library.c,-DSIZE=5000 -ftls-model=global-dynamic $(TRADITIONAL_$(CPU)))

# tlsroom: musl has no room for more static TLS
ifneq ($(glibc),)
$(call exe,tlsroom,host,host.c)
$(call lib,tlsroom,libprobe.so,probe.c,-ftls-model=initial-exec)
endif

# relro: one source, four ways to link it
$(call exe,relro,host,host.c)
$(call lib,relro,libfull.so,calls.c,-Wl$(comma)-z$(comma)now)
$(call lib,relro,libpartial.so,calls.c)
$(call lib,relro,libnone.so,calls.c,-Wl$(comma)-z$(comma)norelro)
$(call lib,relro,libnonenow.so,calls.c,-Wl$(comma)-z$(comma)norelro -Wl$(comma)-z$(comma)now)

# cet: arm64's start files carry no BTI mark and force-bti warns of that, so the library does without them
ifneq ($(glibc),)
PROTECTED_x86_64 := -fcf-protection=full -Wl$(comma)-z$(comma)ibtplt
PROTECTED_aarch64 := -mbranch-protection=standard -nostartfiles -Wl$(comma)-z$(comma)force-bti
$(call host,cet)
$(call lib,cet,libplugin.so,plugin.c,$(PROTECTED_$(CPU)))
endif

# noplt: calls through GLOB_DAT
$(call host,noplt,-fno-plt)
$(call lib,noplt,libplugin.so,plugin.c,-fno-plt)

# static: no dynamic linker. musl-gcc's specs cannot make a static-pie.
STATIC := -no-pie -fno-pie -static
ifneq ($(glibc),)
$(call exe,static,static_pie,program.c,-static-pie)
endif
$(call exe,static,static_fixed,program.c,$(STATIC))
$(call exe,static,static_stripped,program.c,$(STATIC) -s)

# nopie: a fixed address, a COPY relocation, a canonical PLT address
$(call lib,nopie,liblibrary.so,library.c)
$(call exe,nopie,host,host.c,-no-pie -fno-pie,liblibrary.so)

# places: what plug-where tells apart
$(call exe,places,host,host.c)
$(call lib,places,libpltgot.so,pltgot.c)

# racing: dlopen in four threads
$(call exe,racing,host,host.c)
$(foreach n,1 2 3 4,$(call lib,racing,lib$n.so,library.c))

# closing: how a dlclose ends
$(call exe,closing,host,host.c)
$(foreach n,1 2 3 4,$(call lib,closing,lib$n.so,library.c))
$(call lib,closing,libkeeper.so,keeper.c)
$(call lib,closing,libbad.so,bad.c)

# crashes, one plugin each
$(call host,nullcall)
$(call lib,nullcall,libplugin.so,plugin.c)
$(call lib,nullcall,libnoplt.so,plugin.c,-fno-plt)
$(call lib,wildcall,libtarget.so,target.c)
$(call exe,wildcall,host,host.c,,libtarget.so)
$(foreach s,relrowrite rodatawrite stackoverflow abort fpe ill bus ownsegv gaveup threads crowd execdata,\
	$(call host,$s)$(call lib,$s,libplugin.so,plugin.c))

$(call lib,stackoverflow,libthread.so,thread.c)
$(call lib,gaveup,libagain.so,again.c)

# dataonly: without start files there is nothing but the data
DATA := -nostartfiles -nodefaultlibs
$(call exe,dataonly,host,host.c)
$(call lib,dataonly,libdata.so,data.c,$(DATA))
$(call lib,dataonly,libpointers.so,pointers.c,$(DATA))

# nosections: host_bare and libplugin.so are copies whose section headers are gone
define bare
ALL += $(OUT)/nosections/$1
ALL_nosections += $(OUT)/nosections/$1
$(OUT)/nosections/$1: $(OUT)/nosections/$2 drop_sections.py
	python3 drop_sections.py $(OUT)/nosections/$2 $$@
endef
$(call host,nosections)
$(call lib,nosections,with_sections.so,plugin.c,-Wl$(comma)-soname$(comma)libplugin.so)
$(eval $(call bare,libplugin.so,with_sections.so))
$(eval $(call bare,host_bare,host))

# highbase: the first PT_LOAD is not at zero
$(call host,highbase)
$(call lib,highbase,libplugin.so,plugin.c,-Wl$(comma)-Ttext-segment=0x400000)

# replaced: two builds that a test swaps while the program runs
$(call exe,replaced,host,host.c)
$(call lib,replaced,libv.so,v.c,-DVERSION=1)
$(call lib,replaced,libv2.so,v.c,-DVERSION=2 -Wl$(comma)-soname$(comma)libv.so)

# memfd
$(call exe,memfd,host,host.c)
$(call lib,memfd,libplugin.so,plugin.c)

# ctor
$(call exe,ctor,host,host.c)
$(call lib,ctor,libsimple.so,simple.c,'-DNAME="simple"')
$(call lib,ctor,libinner.so,simple.c,'-DNAME="inner"')
$(call lib,ctor,libouter.so,outer.c)

# initorder: left and right need each other, so left is linked twice; first has DF_1_INITFIRST
$(call lib,initorder,libfirst.so,library.c,-DSELF=first -Wl$(comma)-z$(comma)initfirst)
$(call lib,initorder,libpreloaded.so,library.c,-DSELF=preloaded)
$(call lib,initorder,libleaf.so,library.c,-DSELF=leaf)
$(call lib,initorder,early/libleft.so,library.c,-DSELF=left)
$(call lib,initorder,libright.so,library.c,-Wl$(comma)--no-as-needed -DSELF=right -DNEEDS=leaf,early/libleft.so libleaf.so)
$(call lib,initorder,libleft.so,library.c,-Wl$(comma)--no-as-needed -DSELF=left -DNEEDS=leaf,libright.so libleaf.so)
$(call lib,initorder,libtwig.so,library.c,-Wl$(comma)--no-as-needed -DSELF=twig -DNEEDS=leaf,libleaf.so)
$(call lib,initorder,libtree.so,library.c,-Wl$(comma)--no-as-needed -DSELF=tree -DNEEDS=twig,libtwig.so libright.so)
$(call lib,initorder,libglobal.so,library.c,-DSELF=global)
$(call lib,initorder,libinner.so,library.c,-DSELF=inner -DNEEDS=twig,libtwig.so)
$(call lib,initorder,libopener.so,opener.c,-Wl$(comma)-init$(comma)own_init -Wl$(comma)-fini$(comma)own_fini)
$(call lib,initorder,libbound.so,library.c,-DSELF=bound -DNEEDS=global)
$(call lib,initorder,libtail.so,tail.c,-O2)
$(call lib,initorder,libgone.so,library.c,-DSELF=gone)
$(call exe,initorder,host,host.c,,libleft.so libfirst.so)

# loader
$(call exe,loader,host,host.c)
$(call lib,loader,libone.so,one.c)
$(call lib,loader,libtwo.so,two.c,,libone.so)
$(call lib,loader,libundefined.so,undefined.c)

# search: -rpath-link is for ld alone, so `bare` has no search path
ifneq ($(glibc),)
$(call lib,search,one/libleaf.so,leaf.c,-Wl$(comma)-rpath-link$(comma).)
$(call lib,search,one/libmiddle.so,middle.c,-Wl$(comma)-rpath-link$(comma).,one/libleaf.so)
$(call lib,search,two/libleaf.so,leaf.c,-Wl$(comma)-rpath-link$(comma).)
$(call lib,search,two/librunpath.so,middle.c,-Wl$(comma)-rpath$(comma)'$$$$ORIGIN/../two',two/libleaf.so)
$(call exe,search,bare,loader/host.c,-Wl$(comma)-rpath-link$(comma).)
$(call exe,search,rpath,loader/host.c,-Wl$(comma)--disable-new-dtags -Wl$(comma)-rpath$(comma)'$$$$ORIGIN/one:$$$$ORIGIN/two')
endif

# why: libraries that cannot be loaded; linked/ has what is there when they are linked, and gone or older at run time
$(call exe,why,host,loader/host.c)
$(call lib,why,linked/libgone.so,small.c,-DNAME=gone)
$(call lib,why,libneedy.so,user.c,-DNAME=needy -DNEEDS=gone -Wl$(comma)-rpath$(comma)'$$$$ORIGIN',linked/libgone.so)
$(call lib,why,libchain.so,user.c,-DNAME=chain -DNEEDS=needy -Wl$(comma)--unresolved-symbols=ignore-in-shared-libs,libneedy.so)
$(call lib,why,libundefined.so,user.c,-DNAME=undefined -DNEEDS=libnames_misspelt)
$(call lib,why,libnames.so,small.c,-DNAME=libnames_misspelled)
$(call lib,why,libnoopen.so,small.c,-DNAME=noopen -Wl$(comma)-z$(comma)nodlopen)
$(call lib,why,libcrash.so,crash.c)
$(call lib,why,libtls.so,tls.c,-DSIZE=100000 -ftls-model=initial-exec)
$(call lib,why,libplain.so,small.c,-DNAME=plain)
$(call lib,why,libbig.so,big.c)
$(call exe,why,asker,asker.c)
$(call lib,why,libmagic.so,magic.c,-DRELEASE=1500)
$(call lib,why,libmagic14.so,magic.c,-DRELEASE=1400)
$(call lib,why,libunmagic.so,user.c,-DNAME=unmagic -DNEEDS=pg_detoast_datum)
$(call exe,why,choosy,choosy.c,-rdynamic -DHOST -DVERSION=1022001 -DHASH=1)
$(call lib,why,libfitting.so,choosy.c,-DVERSION=1022001 -DHASH=1)
$(call lib,why,libngxold.so,choosy.c,-DVERSION=1018000 -DHASH=1)
$(call lib,why,libgoother.so,choosy.c,-DVERSION=1022001 -DHASH=2)
ifneq ($(glibc),)
$(call lib,why,libexecstack.so,small.c,-DNAME=execstack -Wl$(comma)-z$(comma)execstack)
$(call lib,why,linked/libversioned.so,versioned.c,-DNEWER -Wl$(comma)--version-script=why/new.map)
$(call lib,why,libversioned.so,versioned.c,-Wl$(comma)--version-script=why/old.map)
$(call lib,why,libwants.so,user.c,-DNAME=wants -DNEEDS=newer,linked/libversioned.so)
$(call lib,why,linked/libc.so.6,small.c,-DNAME=from_the_future -nostdlib -Wl$(comma)--version-script=why/libc.map)
$(call lib,why,libfuture.so,user.c,-DNAME=future -DNEEDS=from_the_future -nostdlib,linked/libc.so.6)
endif
ifeq ($(SET),x86_64)
$(call lib,why,libisa.so,isa.c)
endif

# needs: linked/ has what libraries are linked with and that is not there at run time
ifneq ($(glibc),)
$(call exe,needs,host,loader/host.c)
RING = -DOWN=ring$1 -DNEXT=ring$2 -DCALLER=ring$1_calls
$(call lib,needs,linked/libring1.so,ring.c,$(call RING,1,2))
$(call lib,needs,libring3.so,ring.c,$(call RING,3,1),linked/libring1.so)
$(call lib,needs,libring2.so,ring.c,$(call RING,2,3),libring3.so)
$(call lib,needs,libring1.so,ring.c,$(call RING,1,2),libring2.so)
$(call lib,needs,libleft.so,pair.c,-DOWN=left -DOTHER=right -DCALLER=left_calls)
$(call lib,needs,libright.so,pair.c,-DOWN=right -DOTHER=left -DCALLER=right_calls)
$(call lib,needs,libkick.so,kick.c)
$(foreach n,libtwin.so.1 libtwin.so.2 libdigest-0a1b2c3d.so.4 libdigest-9f8e7d6c.so.4 first/libutil.so.1,\
	$(call lib,needs,$n,small.c,-DNAME=small))
$(call lib,needs,linked/libversioned.so,versioned.c,-DNEWER -Wl$(comma)--version-script=needs/new.map)
$(call lib,needs,libversioned.so,versioned.c,-Wl$(comma)--version-script=needs/old.map)
$(call lib,needs,linked/libwants.so,wants.c,,linked/libversioned.so)
$(call lib,needs,linked/libalias.so,small.c,-DNAME=alias)
$(call lib,needs,libalias.so,small.c,-DNAME=alias -Wl$(comma)-soname$(comma)libalias.so.3)
$(call lib,needs,libuser.so,user.c,,linked/libalias.so)
$(call lib,needs,libopener.so,opener.c,-Wl$(comma)-rpath$(comma)'$$$$ORIGIN/inner')
$(call lib,needs,inner/libinner.so,inner.c)
ALL += $(OUT)/needs/libwants.so
ALL_needs += $(OUT)/needs/libwants.so
$(OUT)/needs/libwants.so: $(OUT)/needs/linked/libwants.so weak_version.py
	python3 weak_version.py $< $@ NEEDS_2
endif

# libcdlopen
ifneq ($(glibc),)
$(call exe,libcdlopen,host,host.c)
endif

# cxx
ifneq ($(glibc),)
# -rdynamic: the program takes part in what is one for the whole process
$(call cxxexe,cxx,host,host.cpp,-rdynamic)
$(call cxxlib,cxx,libplain.so,plain.cpp)
$(call cxxlib,cxx,libstrict.so,strict.cpp)
endif

# names: a C++ crash
ifneq ($(glibc),)
$(call host,names)
$(call cxxlib,names,libplugin.so,plugin.cpp)
endif

include rules.mk

# watch: a slot that is bound, overwritten and unloaded
ifneq ($(glibc),)
$(call exe,watch,host,host.c)
$(call lib,watch,libplugin.so,plugin.c)
endif

# trace: what plug-trace sees; libdefiner.so and libleaf.so are the same source
ifneq ($(glibc),)
$(call exe,trace,host,host.c,-rdynamic)
$(call lib,trace,libleaf.so,leaf.c)
$(call lib,trace,libdefiner.so,leaf.c)
$(call lib,trace,libuser.so,user.c)
$(call lib,trace,libtree.so,user.c,,libleaf.so)
$(call lib,trace,libjumper.so,jumper.c)
$(call lib,trace,libthreads.so,threads.c)
$(call cxxlib,trace,libunique.so,unique.cpp)
$(call cxxlib,trace,liblocal.so,local.cpp)
$(call cxxlib,trace,libthrower.so,thrower.cpp)
$(call cxxexe,trace,catcher,catcher.cpp)
endif

# unloaded: musl unloads nothing
ifneq ($(glibc),)
$(call lib,unloaded,libgone.so,plugin.c)
$(call lib,unloaded,libnext.so,plugin.c)
$(call exe,unloaded,host,host.c)
endif

# deadlock: the plugin calls the host
ifneq ($(glibc),)
$(call exe,deadlock,host,host.c,-rdynamic)
$(call lib,deadlock,libplugin.so,plugin.c)
endif

# interposed: the program exports its own
$(call lib,interposed,libplugin.so,plugin.c)
$(call exe,interposed,host,host.c,-rdynamic)

# misled: a slot that is overwritten, so it must be writable
ifneq ($(glibc),)
$(call lib,misled,libtarget.so,target.c)
$(call lib,misled,libstranger.so,stranger.c)
$(call lib,misled,libplugin.so,plugin.c,-Wl$(comma)-z$(comma)norelro -Wl$(comma)--no-as-needed,libtarget.so libstranger.so)
$(call host,misled)
endif

# early: the client does not say that it needs the registry
ifneq ($(glibc),)
$(call lib,early,libregistry.so,registry.c)
$(call lib,early,libclient.so,client.c)
$(call exe,early,host,host.c,-Wl$(comma)--no-as-needed,libregistry.so libclient.so)
endif

# structs: one name, two layouts
$(call lib,structs,libcallee.so,callee.c)
$(call lib,structs,libplugin.so,plugin.c,,libcallee.so)
$(call host,structs)

# shapes: a host and two libraries that call each other
ifneq ($(glibc),)
$(call lib,shapes,libother.so,other.c,-O2)
$(call lib,shapes,libplugin.so,plugin.c,-O2,libother.so)
$(call exe,shapes,host,host.c,-O2 -rdynamic,libplugin.so libother.so)
endif

# zlibtwice: zlib's functions twice
$(call lib,zlibtwice,libsecond.so,copy.c,-DSELF=end_stream)
$(call lib,zlibtwice,libfirst.so,copy.c,-DSELF=begin_stream -DOTHER=end_stream,libsecond.so)
$(call lib,zlibtwice,libplugin.so,plugin.c,,libfirst.so)
$(call host,zlibtwice)

# audit: for LD_AUDIT
ifneq ($(glibc),)
$(call exe,audit,host,host.c)
$(call lib,audit,libsymbind.so,audit.c)
$(call lib,audit,libpltenter.so,audit.c,-DPLTENTER)
$(call lib,audit,libhook.so,audit.c,-DHOOK)
endif

# hijack: without RELRO, since qemu's stub writes to no page that is read-only
ifneq ($(glibc),)
WRITABLE := -Wl,-z,norelro
$(call lib,hijack,libtarget.so,library.c,-DVALUE=1 -DLOCAL $(WRITABLE))
$(call lib,hijack,libother.so,library.c,-DVALUE=2 $(WRITABLE))
$(call lib,hijack,libstranger.so,library.c,-DVALUE=3 $(WRITABLE))
$(call lib,hijack,libplugin.so,plugin.c,$(WRITABLE))
$(call lib,hijack,libifunc.so,ifunc/ifunc.c,$(WRITABLE))
$(call lib,hijack,libtlsgd.so,tls/var.c,-DMODEL=gd -DSTART=100 -ftls-model=global-dynamic $(TRADITIONAL_$(CPU)) $(WRITABLE))
$(call lib,hijack,libtlsie.so,tls/var.c,-DMODEL=ie -DSTART=200 -ftls-model=initial-exec $(WRITABLE))
$(call lib,hijack,libtlsdesc.so,tls/var.c,-DMODEL=desc -DSTART=300 -ftls-model=global-dynamic $(DESCRIPTORS_$(CPU)) $(WRITABLE))
$(call exe,hijack,host,host.c,$(WRITABLE) -Wl$(comma)--no-as-needed,libtarget.so libother.so)
endif

# vdso: time() is an IFUNC of libc that may resolve into the vDSO
$(call exe,vdso,host,host.c)

# sanitizer: AddressSanitizer, which wraps half of libc
ifeq ($(SET),x86_64)
$(call lib,sanitizer,libplugin.so,plugin.c,-fsanitize=address)
$(call exe,sanitizer,host,host.c,-fsanitize=address,libplugin.so)
endif

all: $(ALL)
	@:
.PHONY: demo
demo: $(ALL_demo)
	@:
