# The rows of the scenarios on ld.so's lookup, one for each rule; programs.mk includes this file.
# In most of them libraries define the function `twin`, each with another value, and others call it.

#   $(call definer,SCENARIO,OUTPUT,NAME,VALUE,FLAGS,LIBRARIES)    defines NAME
#   $(call caller,SCENARIO,OUTPUT,NAME,CALLER,FLAGS,LIBRARIES)    CALLER calls NAME
#   $(call both,SCENARIO,OUTPUT,NAME,VALUE,CALLER,FLAGS,LIBRARIES)
#   $(call opener,SCENARIO,FLAGS,LIBRARIES)                       common/opener.c
#   $(call patched,SCENARIO,OUTPUT,FROM,CHANGES)                  see patch_elf.py
KEEP := -Wl,--no-as-needed
definer = $(call lib,$1,$2,common/definer.c,$(KEEP) -DNAME=$3 -DVALUE=$4 $5,$6)
caller = $(call lib,$1,$2,common/caller.c,$(KEEP) -DNAME=$3 -DCALLER=$4 $5,$6)
both = $(call lib,$1,$2,common/definer.c common/caller.c,$(KEEP) -DNAME=$3 -DVALUE=$4 -DCALLER=$5 $6,$7)
opener = $(call exe,$1,opener,common/opener.c,$(KEEP) $2,$3)
define copy
ALL += $(OUT)/$1/$2
ALL_$1 += $(OUT)/$1/$2
$(OUT)/$1/$2: $(OUT)/$1/$3 patch_elf.py
	python3 patch_elf.py $(OUT)/$1/$3 $$@ $4
endef
patched = $(eval $(call copy,$1,$2,$3,$4))
soname = -Wl,-soname,$1
script = -Wl,--version-script=$1

# order: the global scope is breadth-first, weak counts as much as strong
$(call definer,order,libdeep.so,twin,3)
$(call definer,order,libfirst.so,other,0,,libdeep.so)
$(call definer,order,libweak.so,twin,1,-DATTRIBUTE=weak)
$(call both,order,libstrong.so,twin,2,strong_calls)
$(call caller,order,libuser.so,twin,user_calls)
$(call opener,order,,libfirst.so libweak.so libstrong.so libuser.so)

# preload: a preloaded library comes first
ifneq ($(glibc),)
$(call definer,preload,libpreload.so,twin,1)
$(call both,preload,libown.so,twin,2,own_calls)
$(call opener,preload,,libown.so)
endif

# pair: two local plugins, each with its own
$(call both,pair,libone.so,twin,1,one_calls)
$(call both,pair,libtwo.so,twin,2,two_calls)
$(call opener,pair)

# promote: RTLD_GLOBAL on a later open; what was bound before keeps its value
$(call definer,promote,libdep.so,twin,1)
$(call definer,promote,libglobal.so,twin,2)
$(call caller,promote,libearly.so,twin,early_calls,,libdep.so)
$(call caller,promote,liblate.so,twin,late_calls,,libdep.so)
$(call opener,promote)

# deepbind: the opened library and its dependencies before the global scope
$(call definer,deepbind,libglobal.so,twin,1)
$(call caller,deepbind,libinner.so,twin,inner_calls)
$(call both,deepbind,libdeep.so,twin,2,deep_calls,,libinner.so)
$(call both,deepbind,libplain.so,twin,3,plain_calls)
$(call opener,deepbind)

# symbolic: today's ld resolves -Bsymbolic itself, so the flag is set afterwards
ORIGINAL := -Wl,-z,origin
$(call definer,symbolic,libglobal.so,twin,1)
$(call both,symbolic,plain_one.so,twin,2,one_calls,$(ORIGINAL) $(call soname,libone.so))
$(call patched,symbolic,libone.so,plain_one.so,symbolic)
$(call both,symbolic,plain_two.so,twin,3,two_calls,$(ORIGINAL) $(call soname,libtwo.so))
$(call patched,symbolic,libtwo.so,plain_two.so,symbolic)
$(call definer,symbolic,libouter.so,twin,4,,libtwo.so)
$(call opener,symbolic)

# spaces: a namespace's global scope is that of the first library opened into it
ifneq ($(glibc),)
$(call definer,spaces,libglobal.so,twin,1)
$(call definer,spaces,libdep.so,twin,2)
$(call caller,spaces,libuser.so,twin,user_calls,,libdep.so)
$(call both,spaces,libother.so,twin,3,other_calls)
$(call opener,spaces)
endif

# openers: a dependency looks into the scope of everybody who opened it. musl leaves a lazy slot
# unresolved until somebody global defines its symbol.
ifneq ($(glibc),)
$(call caller,openers,libdep.so,only_two,dep_calls,-DCALL_ONLY)
$(call caller,openers,libshared.so,twin,shared_calls,-DCALL_ONLY,libdep.so)
$(call definer,openers,libone.so,twin,1,,libshared.so)
$(call lib,openers,libtwo.so,two.c,$(KEEP),libshared.so)
$(call opener,openers)
endif

# versions: libversions.so at run time; users are linked with what its map was, or with no map
ifneq ($(glibc),)
$(call lib,versions,libversions.so,versions.c,$(call script,versions/versions.map))
$(call lib,versions,stub/libversions.so,stub.c,$(call soname,libversions.so))
$(call lib,versions,one/libversions.so,stub.c,$(call script,versions/one.map))
$(call lib,versions,two/libversions.so,stub.c,$(call script,versions/two.map))
$(call caller,versions,libone.so,twin,one_calls,,one/libversions.so)
$(call caller,versions,libtwo.so,twin,two_calls,,two/libversions.so)
$(call caller,versions,libnone.so,twin,none_calls,,stub/libversions.so)
$(call caller,versions,libthree.so,triple,three_calls,,stub/libversions.so)
$(call caller,versions,libhidden.so,hidden,hidden_calls,,stub/libversions.so)
$(call definer,versions,libfallback.so,hidden,9)
$(call definer,versions,libplain.so,twin,7)
$(call lib,versions,libothers.so,common/definer.c,-DNAME=twin -DVALUE=8 $(call script,versions/others.map))
$(call lib,versions,libbase.so,common/definer.c,-DNAME=twin -DVALUE=6 $(call script,versions/base.map))
$(call opener,versions)
endif

# unique: one definition in each namespace, also among local libraries
ifneq ($(glibc),)
$(call cxxlib,unique,libone.so,unique.cpp,-DCALLER=one_counts)
$(call cxxlib,unique,libtwo.so,unique.cpp,-DCALLER=two_counts)
$(call opener,unique)
endif

# visibility: symbols that are protected or hidden although others could see them
$(call definer,visibility,libglobal.so,twin,1)
$(call both,visibility,plain_protected.so,twin,2,protected_calls,$(call soname,libprotected.so))
$(call patched,visibility,libprotected.so,plain_protected.so,twin.visibility=3)
$(call both,visibility,plain_hidden.so,twin,3,hidden_calls,$(call soname,libhidden.so))
$(call patched,visibility,libhidden.so,plain_hidden.so,twin.visibility=2)
$(call both,visibility,libuser.so,twin,4,user_calls)
$(call opener,visibility)

# ifuncs: a result may lie in another module than its resolver
ifneq ($(glibc),)
$(call lib,ifuncs,libfirst.so,first.c)
$(call definer,ifuncs,libsecond.so,twin,2)
$(call lib,ifuncs,libuser.so,user.c,$(KEEP),libfirst.so)
$(call opener,ifuncs,,libfirst.so libsecond.so libuser.so)
endif

# fixed: a program at a fixed address, COPY relocations and canonical PLT addresses against a twin
$(call lib,fixed,libfirst.so,library.c,-DVALUE=1)
$(call lib,fixed,libsecond.so,library.c,-DVALUE=2)
$(call caller,fixed,libcaller.so,shared_function,caller_calls,-DCALL_ONLY)
$(call exe,fixed,host,host.c,-no-pie -fno-pie $(KEEP),libfirst.so libsecond.so libcaller.so)

# tlsname: a TLS variable and a function of one name
$(call definer,tlsname,libfunction.so,thing,1)
$(call lib,tlsname,libvariable.so,variable.c)
$(call lib,tlsname,libuser.so,user.c)
$(call caller,tlsname,libcaller.so,thing,caller_calls)
$(call opener,tlsname)

# absolute: symbols that are numbers, zero as well
$(call lib,absolute,libfirst.so,first.c,-Wl$(comma)--defsym=number=0x1234 -Wl$(comma)--defsym=zero=0)
$(call lib,absolute,libsecond.so,second.c)
$(call lib,absolute,libuser.so,user.c)
$(call opener,absolute,,libfirst.so libsecond.so libuser.so)

# kinds: symbols that no lookup finds, by type, binding or value
$(foreach k,section file unknown local zero none,$(call definer,kinds,plain_$k.so,$k,1,$(call soname,lib$k.so)))
$(call patched,kinds,libsection.so,plain_section.so,section.type=3)
$(call patched,kinds,libfile.so,plain_file.so,file.type=4)
$(call patched,kinds,libunknown.so,plain_unknown.so,unknown.type=7)
$(call patched,kinds,liblocal.so,plain_local.so,local.bind=0)
$(call patched,kinds,libzero.so,plain_zero.so,zero.value=0)
$(call patched,kinds,libnone.so,plain_none.so,none.type=0)
$(call lib,kinds,libsecond.so,second.c)
$(call lib,kinds,libuser.so,user.c)
# ld would not take what was patched
$(call opener,kinds,,$(patsubst %,plain_%.so,section file unknown local zero none) libsecond.so libuser.so)

# hashes: DT_HASH, DT_GNU_HASH, both, and a table with nothing in it
HASH := -Wl,--hash-style
$(call lib,hashes,libempty.so,empty.c,-nostartfiles)
$(call lib,hashes,libemptysysv.so,empty.c,-nostartfiles $(HASH)=sysv)
$(call both,hashes,libsysv.so,sysv,1,sysv_calls,$(HASH)=sysv)
$(call both,hashes,libgnu.so,gnu,1,gnu_calls,$(HASH)=gnu)
$(call both,hashes,libboth.so,both,1,both_calls,$(HASH)=both)
$(call lib,hashes,libsecond.so,second.c,$(HASH)=sysv)
$(call opener,hashes,,libempty.so libemptysysv.so libsysv.so libgnu.so libboth.so libsecond.so)

# relr: packed relative relocations (glibc 2.36 and newer) beside ordinary ones; binutils 2.40 packs
# them for x86-64 alone
ifeq ($(SET),x86_64)
$(call lib,relr,librelr.so,relr.c,-Wl$(comma)-z$(comma)pack-relative-relocs)
$(call definer,relr,libglobal.so,twin,1)
$(call opener,relr)
endif

# undefined: what nobody defines. musl leaves what the file has in the slot of `missing`.
ifneq ($(glibc),)
$(call lib,undefined,libuser.so,user.c)
$(call opener,undefined)
endif

# exported: a definition in the program counts if the program exports it
$(call definer,exported,liblibrary.so,twin,1)
$(call caller,exported,libuser.so,twin,user_calls,,liblibrary.so)
$(call exe,exported,opener,common/opener.c common/definer.c,-DNAME=twin -DVALUE=2 -rdynamic)
$(call exe,exported,silent,common/opener.c common/definer.c,-DNAME=twin -DVALUE=2)

# conflicts: definitions that lost, one way each; libone and libtwo have twins that both keep
$(call both,conflicts,libneeded.so,from_needed,2,needed_calls,-DCALL_ONLY)
$(call both,conflicts,libprogram.so,from_program,10,program_calls)
$(call both,conflicts,libneeds.so,from_needed,10,needs_calls)
$(call definer,conflicts,libglobal.so,from_global,3)
$(call both,conflicts,libopens.so,from_global,10,opens_calls)
$(call both,conflicts,libone.so,from_each,5,one_calls)
$(call both,conflicts,libtwo.so,from_each,6,two_calls)
$(call definer,conflicts,libpreload.so,from_needed,4)
$(call exe,conflicts,opener,common/opener.c common/definer.c,-DNAME=from_program -DVALUE=1 -rdynamic $(KEEP),libneeded.so)
ifneq ($(glibc),)
$(call cxxlib,conflicts,libcxxone.so,inline.cpp,-DCALLER=cxx_one)
$(call cxxlib,conflicts,libcxxtwo.so,inline.cpp,-DCALLER=cxx_two)
endif

# runtimes: two files that export OpenMP's functions under other names, one that only has the name
$(call definer,runtimes,libplain.so,omp_get_max_threads,1)
$(call definer,runtimes,libother.so,omp_get_max_threads,2)
$(call definer,runtimes,libssl_no.so,nothing,1)
$(call caller,runtimes,libinflate.so,omp_get_max_threads,inflate_calls,,libplain.so)
$(call opener,runtimes)

# symbolnames: what a name can hold
$(call host,symbolnames)
$(call lib,symbolnames,libplugin.so,plugin.c)
